//! Counter records: what a data source has counted, or measured (sFlow v5 and its extensions).
//!
//! All are tables of fields. Units are the specifications': octets, packets, bytes, milliseconds.

use crate::layout::{Fields, layouts};
use crate::record::Record;

layouts! {
    /// Counters of an interface (`ifTable`, `ifXTable`).
    IF_COUNTERS = 0:1 "if_counters" {
        "ifIndex" U32, "networkType" U32, "ifSpeed" U64, "ifDirection" U32, "ifStatus" U32,
        "ifInOctets" U64, "ifInUcastPkts" U32, "ifInMulticastPkts" U32, "ifInBroadcastPkts" U32,
        "ifInDiscards" U32, "ifInErrors" U32, "ifInUnknownProtos" U32, "ifOutOctets" U64,
        "ifOutUcastPkts" U32, "ifOutMulticastPkts" U32, "ifOutBroadcastPkts" U32, "ifOutDiscards" U32,
        "ifOutErrors" U32, "ifPromiscuousMode" U32 }
    /// Counters of an Ethernet interface (`dot3StatsTable`).
    ETHERNET_COUNTERS = 0:2 "ethernet_counters" {
        "dot3StatsAlignmentErrors" U32, "dot3StatsFCSErrors" U32, "dot3StatsSingleCollisionFrames" U32,
        "dot3StatsMultipleCollisionFrames" U32, "dot3StatsSQETestErrors" U32,
        "dot3StatsDeferredTransmissions" U32, "dot3StatsLateCollisions" U32,
        "dot3StatsExcessiveCollisions" U32, "dot3StatsInternalMacTransmitErrors" U32,
        "dot3StatsCarrierSenseErrors" U32, "dot3StatsFrameTooLongs" U32,
        "dot3StatsInternalMacReceiveErrors" U32, "dot3StatsSymbolErrors" U32 }
    /// Counters of a token ring interface.
    TOKENRING_COUNTERS = 0:3 "tokenring_counters" {
        "dot5StatsLineErrors" U32, "dot5StatsBurstErrors" U32, "dot5StatsACErrors" U32,
        "dot5StatsAbortTransErrors" U32, "dot5StatsInternalErrors" U32, "dot5StatsLostFrameErrors" U32,
        "dot5StatsReceiveCongestions" U32, "dot5StatsFrameCopiedErrors" U32, "dot5StatsTokenErrors" U32,
        "dot5StatsSoftErrors" U32, "dot5StatsHardErrors" U32, "dot5StatsSignalLoss" U32,
        "dot5StatsTransmitBeacons" U32, "dot5StatsRecoverys" U32, "dot5StatsLobeWires" U32,
        "dot5StatsRemoves" U32, "dot5StatsSingles" U32, "dot5StatsFreqErrors" U32 }
    /// Counters of a 100BASE-VG interface.
    VG_COUNTERS = 0:4 "vg_counters" {
        "dot12InHighPriorityFrames" U32, "dot12InHighPriorityOctets" U64,
        "dot12InNormPriorityFrames" U32, "dot12InNormPriorityOctets" U64, "dot12InIPMErrors" U32,
        "dot12InOversizeFrameErrors" U32, "dot12InDataErrors" U32, "dot12InNullAddressedFrames" U32,
        "dot12OutHighPriorityFrames" U32, "dot12OutHighPriorityOctets" U64,
        "dot12TransitionIntoTrainings" U32, "dot12HCInHighPriorityOctets" U64,
        "dot12HCInNormPriorityOctets" U64, "dot12HCOutHighPriorityOctets" U64 }
    /// Counters of a VLAN.
    VLAN_COUNTERS = 0:5 "vlan_counters" {
        "in_vlan" U32, "octets" U64, "ucastPkts" U32, "multicastPkts" U32, "broadcastPkts" U32,
        "discards" U32 }
    /// Counters of a wireless interface.
    IEEE80211_COUNTERS = 0:6 "ieee80211_counters" {
        "dot11TransmittedFragmentCount" U32, "dot11MulticastTransmittedFrameCount" U32,
        "dot11FailedCount" U32, "dot11RetryCount" U32, "dot11MultipleRetryCount" U32,
        "dot11FrameDuplicateCount" U32, "dot11RTSSuccessCount" U32, "dot11RTSFailureCount" U32,
        "dot11ACKFailureCount" U32, "dot11ReceivedFragmentCount" U32,
        "dot11MulticastReceivedFrameCount" U32, "dot11FCSErrorCount" U32,
        "dot11TransmittedFrameCount" U32, "dot11WEPUndecryptableCount" U32,
        "dot11QoSDiscardedFragmentCount" U32, "dot11AssociatedStationCount" U32,
        "dot11QoSCFPollsReceivedCount" U32, "dot11QoSCFPollsUnusedCount" U32,
        "dot11QoSCFPollsUnusableCount" U32, "dot11QoSCFPollsLostCount" U32 }
    /// State and counters of a port in a link aggregation group.
    LACP_COUNTERS = 0:7 "lag_port_stats" {
        "actorSystemID" Mac, "partnerSystemID" Mac, "attachedAggID" U32, "actorAdminPortState" Byte,
        "actorOperPortState" Byte, "partnerAdminPortState" Byte, "partnerOperPortState" Byte,
        "LACPDUsRx" U32, "markerPDUsRx" U32, "markerResponsePDUsRx" U32, "unknownRx" U32,
        "illegalRx" U32, "LACPDUsTx" U32, "markerPDUsTx" U32, "markerResponsePDUsTx" U32 }
    /// An optical module and its lanes.
    SFP = 0:10 "sfp" {
        "sfp_module_id" U32, "sfp_module_total_lanes" U32, "sfp_module_supply_voltage" U32,
        "sfp_module_temperature" U32, "lanes" Lanes }
    /// Priority flow control.
    PFC = 0:11 "pfc" {
        "PFC_requests" U32, "PFC_indications" U32, "PFC_pause_duration" U32, "PFC_storm_detected" U32,
        "PFC_storm_restored" U32 }
    /// Processor and memory of a device; loads in hundredths of a percent.
    PROCESSOR = 0:1001 "processor" {
        "5s_cpu" U32, "1m_cpu" U32, "5m_cpu" U32, "total_memory_bytes" U64, "free_memory_bytes" U64 }
    /// Use of a radio channel.
    RADIO_UTILIZATION = 0:1002 "radio_utilization" {
        "radio_elapsed_time" U32, "radio_on_channel_time" U32, "radio_on_channel_busy_time" U32 }
    /// OpenFlow identity of an interface.
    OF_PORT = 0:1004 "of_port" {
        "openflow_datapath_id" U64, "openflow_port" U32 }
    /// Name of an interface.
    PORT_NAME = 0:1005 "port_name" {
        "ifName" Text }
    /// Identity of a host, virtual machine or container.
    HOST_DESCR = 0:2000 "host_descr" {
        "hostname" Text, "UUID" Uuid, "machine_type" U32, "os_name" U32, "os_release" Text }
    /// Network adapters of a host.
    HOST_ADAPTERS = 0:2001 "host_adapters" {
        "adaptors" Adapters }
    /// The data source that contains this one.
    HOST_PARENT = 0:2002 "host_parent" {
        "parent_dsClass" U32, "parent_dsIndex" U32 }
    /// Processors of a host; times in milliseconds.
    HOST_CPU = 0:2003 "host_cpu" {
        "cpu_load_one" F32, "cpu_load_five" F32, "cpu_load_fifteen" F32, "cpu_proc_run" U32,
        "cpu_proc_total" U32, "cpu_num" U32, "cpu_speed" U32, "cpu_uptime" U32, "cpu_user" U32,
        "cpu_nice" U32, "cpu_system" U32, "cpu_idle" U32, "cpu_wio" U32, "cpuintr" U32, "cpu_sintr" U32,
        "cpuinterrupts" U32, "cpu_contexts" U32, "cpu_steal" U32, "cpu_guest" U32, "cpu_guest_nice" U32 }
    /// Memory of a host.
    HOST_MEMORY = 0:2004 "host_memory" {
        "mem_total" U64, "mem_free" U64, "mem_shared" U64, "mem_buffers" U64, "mem_cached" U64,
        "swap_total" U64, "swap_free" U64, "page_in" U32, "page_out" U32, "swap_in" U32, "swap_out" U32 }
    /// Disks of a host; part_max_used in hundredths of a percent.
    HOST_DISK_IO = 0:2005 "host_disk_io" {
        "disk_total" U64, "disk_free" U64, "disk_partition_max_used" U32, "disk_reads" U32,
        "disk_bytes_read" U64, "disk_read_time" U32, "disk_writes" U32, "disk_bytes_written" U64,
        "disk_write_time" U32 }
    /// Network of a host.
    HOST_NET_IO = 0:2006 "host_net_io" {
        "nio_bytes_in" U64, "nio_pkts_in" U32, "nio_errs_in" U32, "nio_drops_in" U32,
        "nio_bytes_out" U64, "nio_pkts_out" U32, "nio_errs_out" U32, "nio_drops_out" U32 }
    /// IP of a host (MIB-II).
    HOST_IP = 0:2007 "mib2_ip_group" {
        "ipForwarding" U32, "ipDefaultTTL" U32, "ipInReceives" U32, "ipInHdrErrors" U32,
        "ipInAddrErrors" U32, "ipForwDatagrams" U32, "ipInUnknownProtos" U32, "ipInDiscards" U32,
        "ipInDelivers" U32, "ipOutRequests" U32, "ipOutDiscards" U32, "ipOutNoRoutes" U32,
        "ipReasmTimeout" U32, "ipReasmReqds" U32, "ipReasmOKs" U32, "ipReasmFails" U32, "ipFragOKs" U32,
        "ipFragFails" U32, "ipFragCreates" U32 }
    /// ICMP of a host (MIB-II).
    HOST_ICMP = 0:2008 "mib2_icmp_group" {
        "icmpInMsgs" U32, "icmpInErrors" U32, "icmpInDestUnreachs" U32, "icmpInTimeExcds" U32,
        "icmpInParamProbs" U32, "icmpInSrcQuenchs" U32, "icmpInRedirects" U32, "icmpInEchos" U32,
        "icmpInEchoReps" U32, "icmpInTimestamps" U32, "icmpInAddrMasks" U32, "icmpInAddrMaskReps" U32,
        "icmpOutMsgs" U32, "icmpOutErrors" U32, "icmpOutDestUnreachs" U32, "icmpOutTimeExcds" U32,
        "icmpOutParamProbs" U32, "icmpOutSrcQuenchs" U32, "icmpOutRedirects" U32, "icmpOutEchos" U32,
        "icmpOutEchoReps" U32, "icmpOutTimestamps" U32, "icmpOutTimestampReps" U32,
        "icmpOutAddrMasks" U32, "icmpOutAddrMaskReps" U32 }
    /// TCP of a host (MIB-II).
    HOST_TCP = 0:2009 "mib2_tcp_group" {
        "tcpRtoAlgorithm" U32, "tcpRtoMin" U32, "tcpRtoMax" U32, "tcpMaxConn" U32, "tcpActiveOpens" U32,
        "tcpPassiveOpens" U32, "tcpAttemptFails" U32, "tcpEstabResets" U32, "tcpCurrEstab" U32,
        "tcpInSegs" U32, "tcpOutSegs" U32, "tcpRetransSegs" U32, "tcpInErrs" U32, "tcpOutRsts" U32,
        "tcpInCsumErrors" U32 }
    /// UDP of a host (MIB-II).
    HOST_UDP = 0:2010 "mib2_udp_group" {
        "udpInDatagrams" U32, "udpNoPorts" U32, "udpInErrors" U32, "udpOutDatagrams" U32,
        "udpRcvbufErrors" U32, "udpSndbufErrors" U32, "udpInCsumErrors" U32 }
    /// A host of virtual machines or containers.
    VIRT_NODE = 0:2100 "virt_node" {
        "vnode_mhz" U32, "vnode_cpus" U32, "vnode_memory" U64, "vnode_memory_free" U64,
        "vnode_num_domains" U32 }
    /// Processors of a virtual machine or container; time in milliseconds.
    VIRT_CPU = 0:2101 "virt_cpu" {
        "vcpu_state" U32, "vcpu_cpu_mS" U32, "vcpu_cpuCount" U32 }
    /// Memory of a virtual machine or container.
    VIRT_MEMORY = 0:2102 "virt_memory" {
        "vmem_memory" U64, "vmem_maxMemory" U64 }
    /// Disks of a virtual machine or container.
    VIRT_DISK_IO = 0:2103 "virt_disk_io" {
        "vdsk_capacity" U64, "vdsk_allocation" U64, "vdsk_available" U64, "vdsk_rd_req" U32,
        "vdsk_rd_bytes" U64, "vdsk_wr_req" U32, "vdsk_wr_bytes" U64, "vdsk_errs" U32 }
    /// Network of a virtual machine or container.
    VIRT_NET_IO = 0:2104 "virt_net_io" {
        "vnio_bytes_in" U64, "vnio_pkts_in" U32, "vnio_errs_in" U32, "vnio_drops_in" U32,
        "vnio_bytes_out" U64, "vnio_pkts_out" U32, "vnio_errs_out" U32, "vnio_drops_out" U32 }
    /// A Java virtual machine.
    JVM = 0:2105 "jvm_runtime" {
        "jvm_name" Text, "jvm_vendor" Text, "jvm_version" Text }
    /// Counters of a Java virtual machine.
    JMX = 0:2106 "jvm_statistics" {
        "heap_mem_initial" U64, "heap_mem_used" U64, "heap_mem_committed" U64, "heap_mem_max" U64,
        "non_heap_mem_initial" U64, "non_heap_mem_used" U64, "non_heap_mem_committed" U64,
        "non_heap_mem_max" U64, "gc_count" U32, "gc_mS" U32, "classes_loaded" U32, "classes_total" U32,
        "classes_unloaded" U32, "compilation_mS" U32, "threads_live" U32, "threads_daemon" U32,
        "threads_started" U32, "fds_open" U32, "fds_max" U32 }
    /// Counters of memcached (the earlier structure).
    MEMCACHE_V1 = 0:2200 "memcache_counters" {
        "memcache_uptime" U32, "memcache_rusage_user" U32, "memcache_rusage_system" U32,
        "memcache_curr_connections" U32, "memcache_total_connections" U32,
        "memcache_connection_structures" U32, "memcache_cmd_get" U32, "memcache_cmd_set" U32,
        "memcache_cmd_flush" U32, "memcache_get_hits" U32, "memcache_get_misses" U32,
        "memcache_delete_misses" U32, "memcache_delete_hits" U32, "memcache_incr_misses" U32,
        "memcache_incr_hits" U32, "memcache_decr_misses" U32, "memcache_decr_hits" U32,
        "memcache_cas_misses" U32, "memcache_cas_hits" U32, "memcache_cas_badval" U32,
        "memcache_auth_cmds" U32, "memcache_auth_errors" U32, "memcache_bytes_read" U64,
        "memcache_bytes_written" U64, "memcache_limit_maxbytes" U32, "memcache_accepting_conns" U32,
        "memcache_listen_disabled_num" U32, "memcache_threads" U32, "memcache_conn_yields" U32,
        "memcache_bytes" U64, "memcache_curr_items" U32, "memcache_total_items" U32,
        "memcache_evictions" U32 }
    /// Counters of an HTTP server.
    HTTP_COUNTERS = 0:2201 "http_counters" {
        "http_method_option_count" U32, "http_method_get_count" U32, "http_method_head_count" U32,
        "http_method_post_count" U32, "http_method_put_count" U32, "http_method_delete_count" U32,
        "http_method_trace_count" U32, "http_methd_connect_count" U32, "http_method_other_count" U32,
        "http_status_1XX_count" U32, "http_status_2XX_count" U32, "http_status_3XX_count" U32,
        "http_status_4XX_count" U32, "http_status_5XX_count" U32, "http_status_other_count" U32 }
    /// Operations of an application.
    APP_OPERATIONS = 0:2202 "app_operations" {
        "application" Text, "status_OK" U32, "errors_OTHER" U32, "errors_TIMEOUT" U32,
        "errors_INTERNAL_ERROR" U32, "errors_BAD_REQUEST" U32, "errors_FORBIDDEN" U32,
        "errors_TOO_LARGE" U32, "errors_NOT_IMPLEMENTED" U32, "errors_NOT_FOUND" U32,
        "errors_UNAVAILABLE" U32, "errors_UNAUTHORIZED" U32 }
    /// Resources of an application.
    APP_RESOURCES = 0:2203 "app_resources" {
        "user_time" U32, "system_time" U32, "memory_used" U64, "memory_max" U64, "files_open" U32,
        "files_max" U32, "connections_open" U32, "connections_max" U32 }
    /// Counters of memcached.
    MEMCACHE_COUNTERS = 0:2204 "memcache_counters" {
        "memcache_cmd_set" U32, "memcache_cmd_touch" U32, "memcache_cmd_flush" U32,
        "memcache_get_hits" U32, "memcache_get_misses" U32, "memcache_delete_hits" U32,
        "memcache_delete_misses" U32, "memcache_incr_hits" U32, "memcache_incr_misses" U32,
        "memcache_decr_hits" U32, "memcache_decr_misses" U32, "memcache_cas_hits" U32,
        "memcache_cas_misses" U32, "memcache_cas_badval" U32, "memcache_auth_cmds" U32,
        "memcache_auth_errors" U32, "memcache_threads" U32, "memcache_conn_yields" U32,
        "memcache_listen_disabled_num" U32, "memcache_curr_connections" U32,
        "memcache_rejected_connections" U32, "memcache_total_connections" U32,
        "memcache_connection_structures" U32, "memcache_evictions" U32, "memcache_reclaimed" U32,
        "memcache_curr_items" U32, "memcache_total_items" U32, "memcache_bytes_read" U64,
        "memcache_bytes_written" U64, "memcache_bytes" U64, "memcache_limit_maxbytes" U64 }
    /// Virtual desktop sessions.
    VDI = 0:2205 "vdi_counters" {
        "vdi_sessions_current" U32, "vdi_sessions_total" U32, "vdi_sessions_duration" U32,
        "vdi_rx_bytes" U32, "vdi_tx_bytes" U32, "vdi_rx_packets" U32, "vdi_tx_packets" U32,
        "vdi_rx_packets_lost" U32, "vdi_tx_packets_lost" U32, "vdi_rtt_min_ms" U32, "vdi_rtt_max_ms" U32,
        "vdi_rtt_avg_ms" U32, "vdi_audio_rx_bytes" U32, "vdi_audio_tx_bytes" U32,
        "vdi_audio_tx_limit" U32, "vdi_img_rx_bytes" U32, "vdi_img_tx_bytes" U32, "vdi_img_frames" U32,
        "vdi_img_qual_min" U32, "vdi_img_qual_max" U32, "vdi_img_qual_avg" U32, "vdi_usb_rx_bytes" U32,
        "vdi_usb_tx_bytes" U32 }
    /// Workers of an application.
    APP_WORKERS = 0:2206 "app_workers" {
        "workers_active" U32, "workers_idle" U32, "workers_max" U32, "requests_delayed" U32,
        "requests_dropped" U32 }
    /// An Open vSwitch datapath.
    OVS_DP_STATS = 0:2207 "ovs_dp_stats" {
        "OVS_dp_hits" U32, "OVS_dp_misses" U32, "OVS_dp_lost" U32, "OVS_dp_mask_hits" U32,
        "OVS_dp_flows" U32, "OVS_dp_masks" U32 }
    /// Use of the tables of a switch chip.
    BCM_TABLES = 4413:3 "hw_tables" {
        "bcm_asic_host_entries" U32, "bcm_host_entries_max" U32, "bcm_ipv4_entries" U32,
        "bcm_ipv4_entries_max" U32, "bcm_ipv6_entries" U32, "bcm_ipv6_entries_max" U32,
        "bcm_ipv4_ipv6_entries" U32, "bcm_ipv4_ipv6_entries_max" U32, "bcm_long_ipv6_entries" U32,
        "bcm_long_ipv6_entries_max" U32, "bcm_total_routes" U32, "bcm_total_routes_max" U32,
        "bcm_ecmp_nexthops" U32, "bcm_ecmp_nexthops_max" U32, "bcm_mac_entries" U32,
        "bcm_mac_entries_max" U32, "bcm_ipv4_neighbors" U32, "bcm_ipv6_neighbors" U32,
        "bcm_ipv4_routes" U32, "bcm_ipv6_routes" U32, "bcm_acl_ingress_entries" U32,
        "bcm_acl_ingress_entries_max" U32, "bcm_acl_ingress_counters" U32,
        "bcm_acl_ingress_counters_max" U32, "bcm_acl_ingress_meters" U32,
        "bcm_acl_ingress_meters_max" U32, "bcm_acl_ingress_slices" U32, "bcm_acl_ingress_slices_max" U32,
        "bcm_acl_egress_entries" U32, "bcm_acl_egress_entries_max" U32, "bcm_acl_egress_counters" U32,
        "bcm_acl_egress_counters_max" U32, "bcm_acl_egress_meters" U32, "bcm_acl_egress_meters_max" U32,
        "bcm_acl_egress_slices" U32, "bcm_acl_egress_slices_max" U32 }
    /// Graphics processors of a host.
    NVIDIA_GPU = 5703:1 "nvidia_gpu" {
        "nvml_device_count" U32, "nvml_processes" U32, "nvml_gpu_mS" U32, "nvml_mem_mS" U32,
        "nvml_mem_bytes_total" U64, "nvml_mem_bytes_free" U64, "nvml_ecc_errors" U32,
        "nvml_energy_mJ" U32, "nvml_temperature_C" U32, "nvml_fan_speed_pc" U32 }
}

/// Whether no length inside the record lies.
#[inline]
pub(crate) fn is_sound(record: Record<'_>) -> bool {
    // What most records are has fields of fixed size alone.
    let common = record.tag == IF_COUNTERS.tag || record.tag == ETHERNET_COUNTERS.tag;
    common || find(record.tag).is_none_or(|layout| layout.is_sound(record.body))
}

/// The record through its table of fields; `None` for one that is not known.
pub fn fields(record: Record<'_>) -> Option<Fields<'_>> {
    find(record.tag).map(|layout| Fields::new(layout, record.body))
}
