// Puts the BPF data plane at the endpoint of the campus of tun_campus.hpp.
#include <cstdlib>
#include <string>

#include "tep/bpf/bpf_plane.hpp"
#include "tests/unit/dataplane/tun_campus.hpp"

namespace dstm::dataplane::testing {
namespace {

Result<std::unique_ptr<DataPlane>> make_bpf_endpoint(const TunPlaneConfig& tun,
                                                     const Clock& clock) {
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
    // The same tests run with and without shortcuts.
    const char* const shortcut = std::getenv("DSTM_TEST_SHORTCUT");
    const bool straight = shortcut != nullptr && std::string(shortcut) == "tc";
    config.shortcut = straight ? tep::bpf::Shortcut::tc : tep::bpf::Shortcut::none;
    return tep::bpf::make_bpf_plane(config, clock);
}

[[maybe_unused]] const bool chosen = [] {
    make_endpoint_plane = make_bpf_endpoint;
    return true;
}();

}  // namespace
}  // namespace dstm::dataplane::testing
