// Titles of the status codes. Knows nothing of how a status line is written or framed.
// RFC 5572 Appendix B.
#include "common/tsp/status.hpp"

namespace dstm::tsp {

std::string_view title(std::uint16_t code) {
    switch (static_cast<Status>(code)) {
        case Status::success: return "Success";
        case Status::authentication_failed: return "Authentication failed";
        case Status::no_more_tunnels: return "No more tunnels available";
        case Status::unsupported_version: return "Unsupported client version";
        case Status::unsupported_tunnel_type: return "Unsupported tunnel type";
        case Status::server_error: return "Server side error";
        case Status::invalid_format: return "Invalid request format or specified length";
        case Status::invalid_ipv4_address: return "Invalid IPv4 address";
        case Status::invalid_ipv6_address: return "Invalid IPv6 address";
        case Status::ipv4_address_in_use: return "IPv4 address already used for existing tunnel";
        case Status::prefix_length_unavailable: return "Requested prefix length cannot be assigned";
        case Status::in_progress: return "Request already in progress";
        case Status::too_busy: return "Server too busy";
    }
    return "Unknown status";
}

bool is_temporary(std::uint16_t code) {
    return code == static_cast<std::uint16_t>(Status::in_progress) ||
           code == static_cast<std::uint16_t>(Status::too_busy);
}

}  // namespace dstm::tsp
