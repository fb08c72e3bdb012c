/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Makes frames as fast as a processor can: it is run on frames that the kernel holds ready (BPF_PROG_TEST_RUN with live
 * frames), writes the next of many templates into each, and sends it out of an interface. The numbers in a
 * template that grow move on in the template itself each time it was sent, and its UDP checksum with them.
 *
 * It keeps a rate by itself, because a call takes tens of milliseconds to begin and end: one call sends frames evenly for as
 * long as it is to last. A run that comes too early waits a little, and sends nothing if that was not enough.
 */
#include "bpf.h"

static u64 (*const monotonic_ns)(void) = (void *)5;
static long (*const redirect)(u32 interface, u64 flags) = (void *)23;
static long (*const adjust_tail)(struct xdp_md *frame, int by) = (void *)65;
/* Linux 5.18. */
static long (*const store_bytes)(struct xdp_md *frame, u32 at, const void *from, u32 length) = (void *)190;

/* The same numbers stand in generate.rs. */
#define TEMPLATES 16385
#define FRAME 1536
#define MOVING 24
#define PROBES 65536

struct moving {
	u32 at;
	u32 add;
};

struct template {
	u32 length;
	u32 count;
	/* Where the UDP checksum is; 0 when it is left out. */
	u32 checksum_at;
	struct moving moving[MOVING];
	/* So that what follows an Ethernet header is aligned. */
	u8 pad[2];
	u8 frame[FRAME + 2];
};

struct settings {
	/* Sent out of this interface; dropped here when it is 0. */
	u32 interface;
	/* As many templates are used in turn, the probe comes after them. */
	u32 templates;
	/* Every so many frames one is the probe; none when it is 0. */
	u32 probe_every;
	u32 pad;
	/* Frames are even in time from the first on, so far apart (1/65536 ns); any time when it is 0. */
	u64 apart;
	/* Who is later than this (1/65536 ns) does not hurry after it. */
	u64 late;
	/* None is sent so long after the first, nor more than so many. */
	u64 time_ns;
	u64 most;
};

/* What it has done. */
struct state {
	u64 due;
	u64 sent;
	u64 bytes;
	u64 early;
	u64 probes;
	u64 refused;
	u64 first_ns;
	u64 last_ns;
	u32 place;
	u32 since_probe;
};

struct {
	MAP_TYPE(type, u32[MAP_ARRAY]);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct template);
	MAP_NUMBER(max_entries, TEMPLATES);
} templates SECTION(".maps");

struct {
	MAP_TYPE(type, u32[MAP_ARRAY]);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct settings);
	MAP_NUMBER(max_entries, 1);
} settings SECTION(".maps");

struct {
	MAP_TYPE(type, u32[MAP_ARRAY]);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct state);
	MAP_NUMBER(max_entries, 1);
} state SECTION(".maps");

/* When the probes were sent. */
struct {
	MAP_TYPE(type, u32[MAP_ARRAY]);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u64);
	MAP_NUMBER(max_entries, PROBES);
} probes SECTION(".maps");

/* How long a run waits for its time, in all and at most in looks at the clock. */
#define WAIT_NS 1000
#define LOOKS 128

/* When a frame is due, which is now; 0 when none is. */
INLINE u64 due(const struct settings *set, struct state *done)
{
	u64 now_ns = monotonic_ns(), begin_ns = now_ns;

	if (!done->first_ns)
		done->first_ns = now_ns;
	u64 first_ns = done->first_ns;

	if (now_ns - first_ns >= set->time_ns || done->sent >= set->most)
		return 0;
	if (!set->apart)
		return now_ns;
	u64 now = 0, at = done->due;

	for (u32 n = 0; n < LOOKS; n++) {
		now = (now_ns - first_ns) << 16;
		if (now >= at || now_ns - begin_ns >= WAIT_NS)
			break;
		now_ns = monotonic_ns();
	}
	if (now < at)
		return 0;
	if (now - at > set->late)
		at = now;
	done->due = at + set->apart;
	return now_ns;
}

/* Moves the numbers on; RFC 1624 for the checksum. */
INLINE void move(struct template *template)
{
	u64 sum = 0;

	for (u32 n = 0; n < MOVING; n++) {
		if (n >= template->count)
			break;
		u32 at = template->moving[n].at;

		if (at > FRAME - 4)
			break;
		be32 *number = (be32 *)(template->frame + at);
		be32 old = *number, moved = to_be32(from_be32(old) + template->moving[n].add);

		*number = moved;
		sum += (u32)~old;
		sum += moved;
	}
	u32 at = template->checksum_at;

	if (!at || at > FRAME - 2)
		return;
	u16 *checksum = (u16 *)(template->frame + at);

	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum += (u16)~*checksum;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	u16 new = ~sum;

	/* 0 would say that there is none. */
	*checksum = new ? new : 0xffff;
}

SECTION("xdp") int generate(struct xdp_md *frame)
{
	u32 zero = 0;
	const struct settings *set = map_lookup(&settings, &zero);
	struct state *done = map_lookup(&state, &zero);

	if (!set || !done)
		return XDP_ABORTED;
	u64 now_ns = due(set, done);

	if (!now_ns) {
		done->early++;
		return XDP_DROP;
	}
	u32 place = done->place;

	if (set->probe_every && ++done->since_probe >= set->probe_every) {
		u32 number = done->probes & (PROBES - 1);
		u64 *at = map_lookup(&probes, &number);

		if (at)
			*at = now_ns;
		done->probes++;
		done->since_probe = 0;
		place = set->templates;
	} else {
		done->place = place + 1 < set->templates ? place + 1 : 0;
	}
	struct template *template = map_lookup(&templates, &place);

	if (!template)
		return XDP_ABORTED;
	u32 length = template->length;

	if (length < 60 || length > FRAME)
		return XDP_ABORTED;
	int more = (int)length - (int)(frame->data_end - frame->data);

	if ((more && adjust_tail(frame, more)) || store_bytes(frame, 0, template->frame, length)) {
		done->refused++;
		return XDP_DROP;
	}
	move(template);
	done->sent++;
	done->bytes += length;
	done->last_ns = now_ns;
	return set->interface ? redirect(set->interface, 0) : XDP_DROP;
}

char LICENSE[] SECTION("license") = "Dual MIT/GPL";
