// The numbers a broker answers with (RFC 5572 Appendix B), and their titles.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace dstm::tsp {

enum class Status : std::uint16_t {
    success = 200,
    authentication_failed = 300,
    no_more_tunnels = 301,
    unsupported_version = 302,
    unsupported_tunnel_type = 303,
    server_error = 310,
    invalid_format = 500,
    invalid_ipv4_address = 501,
    invalid_ipv6_address = 502,
    ipv4_address_in_use = 506,
    prefix_length_unavailable = 507,
    in_progress = 521,
    too_busy = 530,
};

// RFC 5572 Appendix B: the code plus this says that a list of brokers follows.
inline constexpr std::uint16_t redirect_offset = 1000;

// The title in the RFC, "Success" for 200; for a number the RFC does not have, "Unknown status".
[[nodiscard]] std::string_view title(std::uint16_t code);
[[nodiscard]] inline std::string_view title(Status status) {
    return title(static_cast<std::uint16_t>(status));
}

// A client may try again later without changing its request (RFC 5572 Appendix B: 521, 530).
[[nodiscard]] bool is_temporary(std::uint16_t code);

}  // namespace dstm::tsp
