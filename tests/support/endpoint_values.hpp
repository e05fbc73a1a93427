// Values of an endpoint as the examples have it: 192.0.2.0/24 carried at 2001:db8:2::1.
#pragma once

#include <string>

#include "common/tunnel/spec.hpp"

namespace dstm::test {

inline const Ipv6Address endpoint_outer = *Ipv6Address::parse("2001:db8:2::1");
inline const Ipv4Address endpoint_inner = *Ipv4Address::parse("192.0.2.1");
inline const Ipv4Prefix endpoint_pool = *Ipv4Prefix::parse("192.0.2.0/24");
inline const WallTime noon = from_unix(1'800'000'000);

// Ends an hour after noon.
inline TunnelSpec tunnel(const std::string& inner, Generation generation = 1,
                         const std::string& outer = "2001:db8:1::5") {
    TunnelSpec spec;
    spec.type = TunnelType::v4v6;
    spec.inner = *parse_ip_address(inner);
    spec.outer_client.address = *parse_ip_address(outer);
    spec.outer_server = endpoint_outer;
    spec.generation = generation;
    spec.expires_at = noon + std::chrono::hours(1);
    return spec;
}

}  // namespace dstm::test
