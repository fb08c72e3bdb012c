/* What of DPDK is a macro, an inline function or a large structure, as plain functions: start the environment, open a
 * port, take a burst, give it back. port.rs declares them and says who owns what. An error is a negative errno. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_log.h>
#include <rte_mbuf.h>

/* Ethernet, two VLAN tags and the checksum around what the MTU counts. */
#define AROUND_MTU 26

struct opened {
    struct rte_mempool *pool;
    uint16_t queues, descriptors, mtu, room;
};

int finderscope_dpdk_init(int argc, char **argv)
{
    /* The environment's own lines would else go to standard output and to syslog. */
    rte_openlog_stream(stderr);
    return rte_eal_init(argc, argv) < 0 ? -rte_errno : 0;
}

/* The first port from this one on, or RTE_MAX_ETHPORTS. */
uint16_t finderscope_dpdk_next_port(uint16_t from)
{
    return (uint16_t)rte_eth_find_next_owned_by(from, RTE_ETH_DEV_NO_OWNER);
}

/* Its name and its driver's. `name` has room for RTE_ETH_NAME_MAX_LEN bytes. */
int finderscope_dpdk_describe(uint16_t port, char *name, const char **driver)
{
    struct rte_eth_dev_info info;
    int failed = rte_eth_dev_get_name_by_port(port, name);
    if (failed == 0)
        failed = rte_eth_dev_info_get(port, &info);
    if (failed == 0)
        *driver = info.driver_name;
    return failed;
}

/* Starts a port with as many queues and descriptors as asked for or fewer, each datagram in one buffer where the
 * driver can, flows spread by addresses and ports. Buffers are for the rings and `lent` beside each queue's. */
int finderscope_dpdk_open(uint16_t port, uint32_t lent, struct opened *out)
{
    struct rte_eth_conf conf;
    struct rte_eth_dev_info info;
    char pool[RTE_MEMPOOL_NAMESIZE];
    uint16_t sending = 0, queue;
    int failed;

    memset(&conf, 0, sizeof conf);
    if ((failed = rte_eth_dev_info_get(port, &info)) != 0 || (failed = rte_eth_dev_get_mtu(port, &out->mtu)) != 0)
        return failed;
    out->queues = RTE_MIN(out->queues, info.max_rx_queues);
    conf.rxmode.mtu = out->mtu;
    if (out->queues > 1 && info.flow_type_rss_offloads != 0) {
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf = info.flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP);
    }
    if ((failed = rte_eth_dev_configure(port, out->queues, 0, &conf)) != 0 ||
        (failed = rte_eth_dev_adjust_nb_rx_tx_desc(port, &out->descriptors, &sending)) != 0)
        return failed;
    /* Whole kilobytes: some cards round down to them. */
    out->room = RTE_PKTMBUF_HEADROOM +
                (uint16_t)RTE_MIN(RTE_ALIGN_CEIL(RTE_MAX(out->mtu + AROUND_MTU, 2048), 1024), 63 * 1024);
    snprintf(pool, sizeof pool, "finderscope%u", port);
    out->pool = rte_pktmbuf_pool_create(pool, out->queues * (out->descriptors + lent), 0, 0, out->room,
                                        rte_eth_dev_socket_id(port));
    if (out->pool == NULL)
        return -rte_errno;
    for (queue = 0; queue < out->queues && failed == 0; queue++)
        failed = rte_eth_rx_queue_setup(port, queue, out->descriptors, rte_eth_dev_socket_id(port), NULL, out->pool);
    if (failed == 0)
        failed = rte_eth_dev_start(port);
    return failed;
}

/* Stops it; what its rings hold goes back to the pool, and the pool to the system. */
void finderscope_dpdk_close(uint16_t port, struct rte_mempool *pool)
{
    rte_eth_dev_stop(port);
    rte_eth_dev_close(port);
    rte_mempool_free(pool);
}

uint16_t finderscope_dpdk_burst(uint16_t port, uint16_t queue, struct rte_mbuf **taken, uint16_t most)
{
    return rte_eth_rx_burst(port, queue, taken, most);
}

void finderscope_dpdk_free(struct rte_mbuf **taken, unsigned int count)
{
    rte_pktmbuf_free_bulk(taken, count);
}

/* A frame's length, and where it lies when it lies in one piece, else NULL. */
const void *finderscope_dpdk_frame(const struct rte_mbuf *mbuf, uint32_t *length)
{
    *length = mbuf->pkt_len;
    return mbuf->nb_segs == 1 ? rte_pktmbuf_mtod(mbuf, const void *) : NULL;
}

/* Its first `length` bytes, which it has, put together in `whole`. */
void finderscope_dpdk_copy(const struct rte_mbuf *mbuf, uint32_t length, void *whole)
{
    const void *first = rte_pktmbuf_read(mbuf, 0, length, whole);
    /* It is not copied when the first piece has all of it. */
    if (first != whole)
        memcpy(whole, first, length);
}

/* Missed by the card, failed, and how often no buffer was to be had. */
int finderscope_dpdk_counts(uint16_t port, uint64_t counts[3])
{
    struct rte_eth_stats stats;
    int failed = rte_eth_stats_get(port, &stats);
    if (failed == 0) {
        counts[0] = stats.imissed;
        counts[1] = stats.ierrors;
        counts[2] = stats.rx_nombuf;
    }
    return failed;
}
