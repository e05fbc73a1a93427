// RFC 5572 s5.2: the reverse zone of a delegated prefix goes to the name servers that the client
// named. The edge as the broker sees it, and what an operator configures.
//
// Knows no session and no lease: whoever calls decides who may delegate what. What a "name server"
// may be, and which zones a prefix has: delegation_plan.hpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"
#include "common/io/fwd.hpp"
#include "dstm-server/ports.hpp"

namespace dstm::server {

class ReverseDelegation {
public:
    virtual ~ReverseDelegation() = default;

    // Replaces what the prefix had. Each name server is a DNS name or an IPv4 or IPv6 address in
    // text. invalid: one of them is neither, none or too many are given, or no configured zone
    // holds the prefix. refused: the DNS server said no. unavailable: it cannot be reached.
    // exhausted: too many updates wait already. timed_out: it did not answer in time.
    virtual void delegate(const Ipv6Prefix& prefix, std::vector<std::string> name_servers,
                          Done<void> done) = 0;
    // No error when nothing was delegated.
    virtual void withdraw(const Ipv6Prefix& prefix, Done<void> done) = 0;
};

struct ReverseDelegationConfig {
    IpEndpoint server = {{}, 53};    // takes updates by RFC 2136
    std::string key_file;            // TSIG key as tsig-keygen writes it; no access for others
    std::vector<std::string> zones;  // "2.0.0.8.b.d.0.1.0.0.2.ip6.arpa": those it may change
    std::uint32_t ttl_s = 3600;      // of the records
    std::string tool = "/usr/bin/nsupdate";
    std::chrono::seconds timeout{10};  // for one update
    std::size_t concurrent_max = 4;    // updates under way
    std::size_t waiting_max = 1000;    // updates that wait for one of them to end
};

// `context` is the event loop that completions run on. invalid: a file or a value that cannot be
// used; the text names it.
[[nodiscard]] Result<std::unique_ptr<ReverseDelegation>> make_reverse_delegation(
    asio::io_context& context, ReverseDelegationConfig config);

}  // namespace dstm::server
