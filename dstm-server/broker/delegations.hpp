// What reverse zones should be delegated to whom (RFC 5572 s5.2), and the updates that make it so:
// one at a time for each prefix, tried again when DNS fails. A tunnel never waits for it.
//
// Nothing is kept over a restart: the name servers are in the lease's context, so that the end of a
// binding takes its delegation back, and its renewal asks for it anew. It knows no session.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.hpp"
#include "dstm-server/dns/reverse_delegation.hpp"
#include "dstm-server/ports.hpp"

namespace dstm::server {

class Delegations {
public:
    // `dns` may be nullptr: nothing is ever delegated.
    Delegations(ReverseDelegation* dns, const Clock& clock) : dns_(dns), clock_(clock) {}

    // The binding stands. `before`: as it stood until now, nullptr for a new one. (Also a new one
    // without name servers is told to DNS: its prefix may have been delegated to someone whose end
    // nobody saw.)
    void started(const Lease* before, const Lease& now);
    void ended(const Lease& lease);
    void tick();

private:
    using Servers = std::vector<std::string>;  // empty: not delegated
    struct Zone {
        Servers wanted;
        std::optional<Servers> confirmed;
        bool is_updating = false;
        Instant not_before{};
    };
    void want(const Ipv6Prefix& prefix, Servers servers);
    void update(const Ipv6Prefix& prefix, Zone& zone);
    void on_updated(const Ipv6Prefix& prefix, const Servers& servers, const Result<void>& result);

    ReverseDelegation* const dns_;
    const Clock& clock_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
    std::map<Ipv6Prefix, Zone> zones_;
};

}  // namespace dstm::server
