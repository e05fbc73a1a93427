// Configuration to data plane. A new plane gets its branch here and its name in data_plane_names.
#include "tep/data_plane_choice.hpp"

#include "common/base/assert.hpp"
#include "common/dataplane/tun_plane.hpp"
#include "tep/bpf/bpf_plane.hpp"
#include "tep/config.hpp"

namespace dstm::tep {
namespace {

// Beside the admin socket: the daemon may write there, and a restart of the host, which turns
// receive offload on again, empties it.
std::string gro_record(const Config& config) {
    const auto slash = config.admin_socket.rfind('/');
    if (slash == std::string::npos) return {};
    return config.admin_socket.substr(0, slash + 1) + "gro-was-on";
}

using Made = Result<std::unique_ptr<dataplane::DataPlane>>;

Made make_tun(const Config& config, const Clock& clock, dataplane::TspDatagram tsp_datagram) {
    dataplane::TunPlaneConfig tun;
    tun.role = dataplane::TunPlaneConfig::Role::endpoint;
    tun.device = config.device;
    tun.outer = config.outer_ipv6;
    tun.inner = config.inner_ipv4;
    tun.pools = config.pools;
    tun.outer_ipv4 = config.outer_ipv4;
    tun.inner_ipv6 = config.inner_ipv6;
    tun.pools_ipv6 = config.pools_ipv6;
    tun.udp_port = config.udp_port;
    tun.tsp_datagram = std::move(tsp_datagram);
    tun.hairpin = config.hairpin;
    tun.mss_clamp = config.mss_clamp;
    tun.gro_record = gro_record(config);
    return dataplane::make_tun_plane(tun, clock);
}

Made make_bpf(const Config& config, const Clock& clock) {
    bpf::BpfPlaneConfig plane;
    plane.device = config.device;
    plane.outer = config.outer_ipv6;
    plane.inner = config.inner_ipv4;
    plane.pools = config.pools;
    plane.hairpin = config.hairpin;
    plane.mss_clamp = config.mss_clamp;
    return bpf::make_bpf_plane(plane, clock);
}

}  // namespace

Result<DataPlaneChoice> make_data_plane(const Config& config, const Clock& clock,
                                        dataplane::TspDatagram tsp_datagram) {
    DSTM_ASSERT(config.data_plane == "tun" || config.data_plane == "bpf");  // or read_config lies
    auto plane = config.data_plane == "bpf" ? make_bpf(config, clock)
                                            : make_tun(config, clock, std::move(tsp_datagram));
    if (!plane) return tl::unexpected<Error>(plane.error());
    return DataPlaneChoice{std::move(*plane), "configured"};
}

}  // namespace dstm::tep
