// What a test tells the tun data plane, told to the BPF data plane.
#pragma once

#include "tep/bpf/bpf_plane.hpp"

namespace dstm::dataplane::testing {

inline tep::bpf::BpfPlaneConfig bpf_config(const TunPlaneConfig& tun) {
    tep::bpf::BpfPlaneConfig config;
    config.device = tun.device;
    config.outer = tun.outer;
    config.inner = tun.inner;
    config.pools = tun.pools;
    config.outer_ipv4 = tun.outer_ipv4;
    config.inner_ipv6 = tun.inner_ipv6;
    config.pools_ipv6 = tun.pools_ipv6;
    config.udp_port = tun.udp_port;
    config.tsp_datagram = tun.tsp_datagram;
    config.hairpin = tun.hairpin;
    config.mss_clamp = tun.mss_clamp;
    config.tunnels_max = tun.tunnels_max;
    return config;
}

}  // namespace dstm::dataplane::testing
