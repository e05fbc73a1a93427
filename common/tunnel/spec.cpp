// Names of the tunnel types (RFC 5572 s7).
#include "common/tunnel/spec.hpp"

namespace dstm {

std::string_view to_string(TunnelType type) {
    switch (type) {
        case TunnelType::v4v6: return "v4v6";
        case TunnelType::v6v4: return "v6v4";
        case TunnelType::v6udpv4: return "v6udpv4";
    }
    return "unknown";
}

std::optional<TunnelType> parse_tunnel_type(std::string_view text) {
    for (const auto type : {TunnelType::v4v6, TunnelType::v6v4, TunnelType::v6udpv4}) {
        if (text == to_string(type)) return type;
    }
    return std::nullopt;
}

}  // namespace dstm
