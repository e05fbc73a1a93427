// Which data plane carries the client's tunnel: the kernel's own devices where it has them, else
// the TUN device. Knows no engine and no session.
#pragma once

#include <memory>
#include <string>

#include "common/dataplane/data_plane.hpp"
#include "common/dataplane/tun_plane_config.hpp"
#include "common/tsp/message.hpp"

namespace dstm::client {

enum class PlaneWish { automatic, kernel, tun };
enum class PlaneKind { kernel, tun };

// One line in the log says which it is, and why. unavailable: the wish cannot be had on this host.
[[nodiscard]] Result<PlaneKind> choose_plane(PlaneWish wish, tsp::RequestType type,
                                             const std::string& device);

// `tun` is for that plane and names the device for both.
[[nodiscard]] Result<std::unique_ptr<dataplane::DataPlane>> make_plane(
    PlaneKind kind, const dataplane::TunPlaneConfig& tun, const Clock& clock);

}  // namespace dstm::client
