// An nftables rule on the kernel's own ICMP errors.
#include "common/dataplane/quiet_kernel.hpp"

#include <utility>

#include <net/if.h>

#include "common/base/assert.hpp"

namespace dstm::dataplane {
namespace {

// The device that a namespace has once the module is there.
bool kernel_has_tunnels(TunnelType type) {
    return ::if_nametoindex(type == TunnelType::v4v6 ? "ip6tnl0" : "sit0") != 0;
}

// The last match is the protocol in the quoted header, which begins after the 8 bytes of ICMP:
// 6 bytes into that of IPv6 (RFC 8200 s3), 9 into that of IPv4 (RFC 791 s3.1).
std::string answers_of(TunnelType type, const IpAddress& local) {
    if (type == TunnelType::v4v6) {
        return "ip6 saddr " + to_string(local) +
               " icmpv6 type destination-unreachable icmpv6 code port-unreachable @th,112,8 4";
    }
    return "ip saddr " + to_string(local) +
           " icmp type destination-unreachable icmp code port-unreachable @th,136,8 41";
}

}  // namespace

Result<QuietKernel> QuietKernel::on(TunnelType type, const IpAddress& local) {
    DSTM_ASSERT(type != TunnelType::v6udpv4);
    QuietKernel out;
    if (!kernel_has_tunnels(type)) return out;
    auto table = NftTable::add(type == TunnelType::v4v6 ? "ip6" : "ip", "dstm-quiet",
                               " counter withheld { }\n"
                               " chain out {\n  type filter hook output priority filter\n  " +
                                   answers_of(type, local) + " counter name withheld drop\n }\n");
    if (!table) return tl::unexpected(table.error());
    out.table_ = std::move(*table);
    return out;
}

std::uint64_t QuietKernel::withheld() const { return table_ ? table_->packets("withheld") : 0; }

}  // namespace dstm::dataplane
