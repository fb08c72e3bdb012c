/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What the XDP programs need of the kernel's interface: types, maps, helpers. It stands here so that they compile
 * without the kernel's headers, whose place differs between distributions. The numbers are those of
 * include/uapi/linux/bpf.h, which never change.
 */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

/* Numbers in the order of the network. */
typedef u16 be16;
typedef u32 be32;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define to_be16(number) __builtin_bswap16(number)
#define to_be32(number) __builtin_bswap32(number)
#else
#define to_be16(number) ((u16)(number))
#define to_be32(number) ((u32)(number))
#endif
#define from_be16(number) to_be16(number)
#define from_be32(number) to_be32(number)

#define SECTION(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))

/* How a map is described to the loader. */
#define MAP_NUMBER(name, number) int(*name)[number]
#define MAP_TYPE(name, type) typeof(type) *name

enum map_type {
	MAP_HASH = 1,
	MAP_ARRAY = 2,
	MAP_PERCPU_ARRAY = 6,
	MAP_LPM_TRIE = 11,
	MAP_DEVMAP = 14,
	MAP_XSKMAP = 17,
};

/* Room is taken for an entry when it comes. */
#define NO_PREALLOC 1

enum action {
	XDP_ABORTED,
	XDP_DROP,
	XDP_PASS,
	XDP_TX,
	XDP_REDIRECT,
};

struct xdp_md {
	u32 data;
	u32 data_end;
	u32 data_meta;
	u32 ingress_ifindex;
	u32 rx_queue_index;
	u32 egress_ifindex;
};

static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
static long (*const redirect_map)(void *map, u64 key, u64 flags) = (void *)51;
/* The length of a frame in all its buffers (Linux 5.18). */
static u64 (*const frame_length)(struct xdp_md *frame) = (void *)188;
