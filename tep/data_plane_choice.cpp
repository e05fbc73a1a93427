// Configuration to data plane. A new plane gets its branch here and its name beside "tun".
#include "tep/data_plane_choice.hpp"

#include "common/base/assert.hpp"
#include "common/dataplane/tun_plane.hpp"
#include "tep/config.hpp"

namespace dstm::tep {

Result<DataPlaneChoice> make_data_plane(const Config& config, const Clock& clock) {
    DSTM_ASSERT(config.data_plane == "tun");  // read_config lets nothing else pass
    dataplane::TunPlaneConfig tun;
    tun.role = dataplane::TunPlaneConfig::Role::endpoint;
    tun.device = config.device;
    tun.outer = config.outer_ipv6;
    tun.inner = config.inner_ipv4;
    tun.pools = config.pools;
    tun.hairpin = config.hairpin;
    tun.mss_clamp = config.mss_clamp;
    auto plane = dataplane::make_tun_plane(tun, clock);
    if (!plane) return tl::unexpected<Error>(plane.error());
    return DataPlaneChoice{std::move(*plane), "configured"};
}

}  // namespace dstm::tep
