// RFC 5572 s5.2: which records delegate the reverse zone of a prefix, written as input for
// nsupdate. Pure; knows no process. Nothing that a client sent gets into the text unless it is a
// DNS name or an address.
//
// A zone of ip6.arpa stands for four bits (RFC 3596 s2.5). A prefix whose length is not a multiple
// of four has two, four or eight of them, each delegated alike. A name server that was named by its
// address gets the name ns1, ns2, ... in the delegated zone, with its address as glue in ours: an
// NS record cannot hold an address.
#pragma once

#include <string>
#include <vector>

#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"
#include "dstm-server/dns/reverse_delegation.hpp"

namespace dstm::server {

inline constexpr std::size_t name_servers_max = 8;

// "2.0.0.8.b.d.0.1.0.0.2.ip6.arpa" and its like, in order. `prefix` has 1 to 124 bits.
[[nodiscard]] std::vector<std::string> reverse_zones(const Ipv6Prefix& prefix);
// RFC 1123 s2.1: labels of letters, digits and hyphens, at least two of them.
[[nodiscard]] bool is_host_name(const std::string& text);
// "0.0.2.ip6.arpa", with or without a final dot: one digit a label.
[[nodiscard]] bool is_reverse_zone(const std::string& text);

// What nsupdate reads. invalid: a name server is no DNS name and no address, there is none, there
// are too many, or no zone of `config` lies above the prefix.
[[nodiscard]] Result<std::string> delegation_script(const ReverseDelegationConfig& config,
                                                    const Ipv6Prefix& prefix,
                                                    const std::vector<std::string>& name_servers);
[[nodiscard]] Result<std::string> withdrawal_script(const ReverseDelegationConfig& config,
                                                    const Ipv6Prefix& prefix);

}  // namespace dstm::server
