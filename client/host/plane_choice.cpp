// Asks the kernel before it chooses.
#include "client/host/plane_choice.hpp"

#include "common/dataplane/kernel_plane.hpp"
#include "common/dataplane/tun_plane.hpp"
#include "common/log/log.hpp"

namespace dstm::client {
namespace {

Result<void> kernel_can(tsp::RequestType type) {
    switch (type) {
        case tsp::RequestType::v4v6: return dataplane::probe_kernel_plane(TunnelType::v4v6);
        case tsp::RequestType::v6v4: return dataplane::probe_kernel_plane(TunnelType::v6v4);
        default: return dataplane::probe_kernel_plane(TunnelType::v6udpv4);  // it may become that
    }
}

}  // namespace

Result<PlaneKind> choose_plane(PlaneWish wish, tsp::RequestType type, const std::string& device) {
    std::string why = wish == PlaneWish::automatic ? "auto" : "configured";
    bool is_kernel = wish != PlaneWish::tun;
    if (is_kernel) {
        const auto can = kernel_can(type);
        if (!can && wish == PlaneWish::kernel) return tl::unexpected(can.error());
        if (!can) why += "; not kernel: " + can.error().context;
        is_kernel = can.has_value();
    }
    log_info("CLIENT_DATA_PLANE", "data-plane={} device={} why={}", is_kernel ? "kernel" : "tun",
             device, log::quoted(why));
    return is_kernel ? PlaneKind::kernel : PlaneKind::tun;
}

Result<std::unique_ptr<dataplane::DataPlane>> make_plane(PlaneKind kind,
                                                         const dataplane::TunPlaneConfig& tun,
                                                         const Clock& clock) {
    if (kind == PlaneKind::tun) return dataplane::make_tun_plane(tun, clock);
    dataplane::KernelPlaneConfig kernel;
    kernel.role = dataplane::KernelPlaneConfig::Role::client;
    kernel.device = tun.device;
    return dataplane::make_kernel_plane(kernel, clock);
}

}  // namespace dstm::client
