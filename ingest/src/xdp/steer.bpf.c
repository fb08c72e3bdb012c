/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Steers UDP datagrams for the collector's ports to AF_XDP sockets. All else goes on to the kernel as if nothing were
 * there, with one exception: what comes to those ports from a source that is not allowed is dropped, for the host's
 * firewall would not see it once it is steered, and a flood must not cost what the kernel's way to a UDP socket does.
 *
 * What is not plainly ours is the kernel's: frames for other hosts and groups, fragments, what has lengths that do not
 * fit, sources that no host has. A socket of the kernel stays open beside and gets what of these is for the collector.
 *
 * Every frame has one verdict, and is counted under it. The order of the questions is that of the code below, the
 * cheap ones first: most frames of a host are none of ours. program.rs fills the maps and reads the counters.
 */
#include "bpf.h"

enum verdict {
	STEERED,
	NO_SOCKET,
	NOT_IP,
	NOT_UDP,
	OTHER_HOST,
	OTHER_PORT,
	OTHER_ADDRESS,
	FRAGMENT,
	TRUNCATED,
	EXTENSION_HEADERS,
	MARTIAN_SOURCE,
	REFUSED_SOURCE,
	VERDICTS,
};

/* The two tags of QinQ. */
#define MOST_TAGS 2
/* Hop-by-hop options, two of destination options and a routing header are all that a sender may put in. */
#define MOST_EXTENSIONS 4

#define TYPE_IPV4 to_be16(0x0800)
#define TYPE_IPV6 to_be16(0x86dd)
#define TYPE_TAG to_be16(0x8100)
#define TYPE_SERVICE_TAG to_be16(0x88a8)

#define HOP_BY_HOP 0
#define UDP 17
#define ROUTING 43
#define FRAGMENT_HEADER 44
#define AUTHENTICATION 51
#define DESTINATION 60

struct ethernet {
	u16 to[3];
	u16 from[3];
	be16 type;
};

struct tag {
	be16 control;
	be16 type;
};

struct ipv4 {
	u8 version_words;
	u8 service;
	be16 length;
	be16 identification;
	be16 fragment;
	u8 hops;
	u8 protocol;
	be16 checksum;
	be32 from;
	be32 to;
};

struct ipv6 {
	be32 version_flow;
	be16 length;
	u8 next;
	u8 hops;
	be32 from[4];
	be32 to[4];
};

struct extension {
	u8 next;
	u8 words;
	u8 type;
	u8 segments_left;
	u32 rest;
};

struct udp {
	be16 from;
	be16 to;
	be16 length;
	be16 checksum;
};

/* An address of either version; one of IPv4 as ::ffff:a.b.c.d. */
struct address {
	be32 words[4];
};

struct prefix {
	u32 bits;
	struct address address;
};

struct settings {
	u16 own[3]; /* the interface's Ethernet address */
	u8 check_addresses;
	u8 check_sources;
};

struct count {
	u64 frames;
	u64 bytes;
};

/* AF_XDP sockets by queue. */
struct {
	MAP_NUMBER(type, MAP_XSKMAP);
	MAP_NUMBER(max_entries, 1024);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u32);
} sockets SECTION(".maps");

struct {
	MAP_NUMBER(type, MAP_ARRAY);
	MAP_NUMBER(max_entries, 1);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct settings);
} settings SECTION(".maps");

/* A bit for each port: no limit, and no search. */
struct {
	MAP_NUMBER(type, MAP_ARRAY);
	MAP_NUMBER(max_entries, 1024);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u64);
} ports SECTION(".maps");

/* This list and the next have twice the room that they may take: while one is changed, the old stands beside the new. */
struct {
	MAP_NUMBER(type, MAP_HASH);
	MAP_NUMBER(max_entries, 2 * 1024);
	MAP_NUMBER(map_flags, NO_PREALLOC);
	MAP_TYPE(key, struct address);
	MAP_TYPE(value, u8);
} addresses SECTION(".maps");

struct {
	MAP_NUMBER(type, MAP_LPM_TRIE);
	MAP_NUMBER(max_entries, 2 * 65536);
	MAP_NUMBER(map_flags, NO_PREALLOC);
	MAP_TYPE(key, struct prefix);
	MAP_TYPE(value, u8);
} sources SECTION(".maps");

struct {
	MAP_NUMBER(type, MAP_PERCPU_ARRAY);
	MAP_NUMBER(max_entries, VERDICTS);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct count);
} counts SECTION(".maps");

/* Where in the frame we are. */
struct cursor {
	const u8 *at;
	const u8 *end;
	/* Bytes from `at` to the end of the frame, or of the packet once that is known: in all buffers of the frame, so
	   that there may be more of them than up to `end`. */
	u32 left;
};

/* A header of this type, which is passed; 0 where the frame ends before it does. */
#define TAKE(cursor, type) ((const struct type *)take(cursor, sizeof(struct type)))

INLINE const void *take(struct cursor *cursor, u32 size)
{
	const u8 *header = cursor->at;

	if (header + size > cursor->end || size > cursor->left)
		return 0;
	cursor->at += size;
	cursor->left -= size;
	return header;
}

/* Goes on by as many bytes, if there are so many: whether they are in this buffer is for the next header to ask. */
INLINE int skip(struct cursor *cursor, u32 size)
{
	if (size > cursor->left)
		return 0;
	cursor->at += size;
	cursor->left -= size;
	return 1;
}

/* UDP, and the packet's addresses: is it for one of our ports? */
INLINE enum verdict judge_udp(struct cursor *cursor, const struct settings *set, struct prefix *from, struct address *to)
{
	const struct udp *udp = TAKE(cursor, udp);

	if (!udp)
		return TRUNCATED;
	u32 length = from_be16(udp->length);
	if (length < sizeof(*udp) || length - sizeof(*udp) > cursor->left)
		return TRUNCATED;

	u32 port = from_be16(udp->to), word = port / 64;
	u64 *bits = map_lookup(&ports, &word);
	if (!bits || !(*bits >> (port % 64) & 1))
		return OTHER_PORT;
	if (set->check_addresses && !map_lookup(&addresses, to))
		return OTHER_ADDRESS;
	if (set->check_sources && !map_lookup(&sources, from))
		return REFUSED_SOURCE;
	return STEERED;
}

/* What no host sends from: this network, loopback, groups and beyond. */
INLINE int is_martian_v4(be32 address)
{
	u32 first = from_be32(address) >> 24;

	return first == 0 || first == 127 || first >= 224;
}

/* Unspecified, loopback, an address of IPv4 in IPv6's clothes, groups. */
INLINE int is_martian_v6(const be32 *address)
{
	return (!address[0] && !address[1] && !(address[2] & to_be32(0xffff0000))) || *(const u8 *)address == 0xff;
}

INLINE enum verdict judge_ipv4(struct cursor *cursor, const struct settings *set)
{
	const struct ipv4 *ip = TAKE(cursor, ipv4);

	if (!ip || ip->version_words >> 4 != 4)
		return TRUNCATED;
	if (ip->protocol != UDP)
		return NOT_UDP;
	/* More of them, or an offset. */
	if (ip->fragment & to_be16(0x3fff))
		return FRAGMENT;

	u32 header = (ip->version_words & 15) * 4, length = from_be16(ip->length);
	if (header < sizeof(*ip) || length < header || length - sizeof(*ip) > cursor->left)
		return TRUNCATED;
	/* A short frame is padded: what follows the packet is not part of it. */
	cursor->left = length - sizeof(*ip);
	if (!skip(cursor, header - sizeof(*ip)))
		return TRUNCATED;
	if (is_martian_v4(ip->from))
		return MARTIAN_SOURCE;

	struct prefix from = {128, {{0, 0, to_be32(0xffff), ip->from}}};
	struct address to = {{0, 0, to_be32(0xffff), ip->to}};
	return judge_udp(cursor, set, &from, &to);
}

/* Whether UDP may come after such headers still. */
INLINE int is_extension(u32 next)
{
	return next == HOP_BY_HOP || next == DESTINATION || next == ROUTING;
}

INLINE enum verdict judge_ipv6(struct cursor *cursor, const struct settings *set)
{
	const struct ipv6 *ip = TAKE(cursor, ipv6);

	if (!ip || from_be32(ip->version_flow) >> 28 != 6)
		return TRUNCATED;
	u32 length = from_be16(ip->length);
	if (length > cursor->left)
		return TRUNCATED;
	cursor->left = length;

	u32 next = ip->next;
#pragma unroll
	for (int n = 0; n < MOST_EXTENSIONS; n++) {
		if (!is_extension(next))
			break;
		const struct extension *header = TAKE(cursor, extension);
		if (!header)
			return TRUNCATED;
		/* On its way to other hosts still. */
		if (next == ROUTING && header->segments_left)
			return EXTENSION_HEADERS;
		if (!skip(cursor, header->words * 8))
			return TRUNCATED;
		next = header->next;
	}
	if (next == FRAGMENT_HEADER) {
		const struct extension *header = TAKE(cursor, extension);
		if (!header)
			return TRUNCATED;
		return header->next == UDP || is_extension(header->next) ? FRAGMENT : NOT_UDP;
	}
	if (is_extension(next) || next == AUTHENTICATION)
		return EXTENSION_HEADERS;
	if (next != UDP)
		return NOT_UDP;
	if (is_martian_v6(ip->from))
		return MARTIAN_SOURCE;

	struct prefix from = {128, {{ip->from[0], ip->from[1], ip->from[2], ip->from[3]}}};
	struct address to = {{ip->to[0], ip->to[1], ip->to[2], ip->to[3]}};
	return judge_udp(cursor, set, &from, &to);
}

INLINE enum verdict judge(const struct xdp_md *frame, u32 length)
{
	struct cursor cursor = {(const u8 *)(long)frame->data, (const u8 *)(long)frame->data_end, length};
	const struct ethernet *ethernet = TAKE(&cursor, ethernet);
	u32 first = 0;
	const struct settings *set = map_lookup(&settings, &first);

	if (!ethernet || !set)
		return NOT_IP;
	be16 type = ethernet->type;
#pragma unroll
	for (int n = 0; n < MOST_TAGS; n++) {
		if (type != TYPE_TAG && type != TYPE_SERVICE_TAG)
			break;
		const struct tag *tag = TAKE(&cursor, tag);
		if (!tag)
			return TRUNCATED;
		type = tag->type;
	}
	if (type != TYPE_IPV4 && type != TYPE_IPV6)
		return NOT_IP;
	/* A promiscuous interface sees frames for others, which no socket of the kernel would get. Who is in a group,
	   the kernel knows. */
	if (ethernet->to[0] != set->own[0] || ethernet->to[1] != set->own[1] || ethernet->to[2] != set->own[2])
		return OTHER_HOST;
	return type == TYPE_IPV4 ? judge_ipv4(&cursor, set) : judge_ipv6(&cursor, set);
}

INLINE int steer_frame(struct xdp_md *frame, u32 length)
{
	u32 verdict = judge(frame, length);
	int action = XDP_PASS;

	if (verdict == STEERED) {
		/* A queue that has no socket is the kernel's. */
		action = redirect_map(&sockets, frame->rx_queue_index, XDP_PASS);
		if (action != XDP_REDIRECT)
			verdict = NO_SOCKET;
	} else if (verdict == REFUSED_SOURCE) {
		action = XDP_DROP;
	}
	struct count *count = map_lookup(&counts, &verdict);
	if (count) {
		count->frames++;
		count->bytes += length;
	}
	return action;
}

/* Frames in one buffer each: drivers with such programs only refuse an MTU that needs more. */
SECTION("xdp") int steer(struct xdp_md *frame)
{
	return steer_frame(frame, frame->data_end - frame->data);
}

/* Jumbo frames, in several (Linux 5.18). */
SECTION("xdp.frags") int steer_frags(struct xdp_md *frame)
{
	return steer_frame(frame, frame_length(frame));
}

SECTION("license") char terms[] = "Apache-2.0 OR MIT";
