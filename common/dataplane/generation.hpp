// What every table of tunnels answers to a change that is older than what stands (data_plane.hpp).
#pragma once

#include <string>

#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"
#include "common/tunnel/spec.hpp"

namespace dstm::dataplane {

[[nodiscard]] inline tl::unexpected<Error> fail_newer(const IpAddress& inner,
                                                      Generation standing) {
    return fail(ErrorCode::conflict,
                "tunnel " + to_string(inner) + " has generation " + std::to_string(standing));
}

}  // namespace dstm::dataplane
