// Delegations as they should be. See delegations.hpp.
#include "dstm-server/broker/delegations.hpp"

#include <utility>

#include "common/log/log.hpp"

namespace dstm::server {
namespace {

// After a failure; DNS servers are repaired by people.
constexpr Duration retry_interval = std::chrono::seconds(60);

bool has_delegation(const Lease& lease) {
    return lease.prefix && !lease.context.name_servers.empty();
}

}  // namespace

void Delegations::started(const Lease* before, const Lease& now) {
    if (before != nullptr && before->prefix != now.prefix) {
        ended(*before);
        before = nullptr;
    }
    if (!now.prefix) return;
    const bool may_be_delegated = before == nullptr || has_delegation(*before);
    if (has_delegation(now) || may_be_delegated) want(*now.prefix, now.context.name_servers);
}

void Delegations::ended(const Lease& lease) {
    if (has_delegation(lease)) want(*lease.prefix, {});
}

void Delegations::tick() {
    for (auto& [prefix, zone] : zones_) update(prefix, zone);
}

void Delegations::want(const Ipv6Prefix& prefix, Servers servers) {
    if (dns_ == nullptr) return;
    Zone& zone = zones_[prefix];
    zone.wanted = std::move(servers);
    zone.not_before = clock_.now();
    update(prefix, zone);
}

void Delegations::update(const Ipv6Prefix& prefix, Zone& zone) {
    const bool is_done = zone.confirmed && *zone.confirmed == zone.wanted;
    if (is_done || zone.is_updating || clock_.now() < zone.not_before) return;
    zone.is_updating = true;
    const Servers servers = zone.wanted;
    Done<void> done = [this, prefix, servers,
                       alive = std::weak_ptr<bool>(alive_)](const Result<void>& result) {
        if (!alive.expired()) on_updated(prefix, servers, result);
    };
    if (servers.empty()) {
        dns_->withdraw(prefix, std::move(done));
    } else {
        dns_->delegate(prefix, servers, std::move(done));
    }
}

void Delegations::on_updated(const Ipv6Prefix& prefix, const Servers& servers,
                             const Result<void>& result) {
    const auto at = zones_.find(prefix);
    Zone& zone = at->second;
    zone.is_updating = false;
    // What can never be done is not tried again.
    zone.confirmed.reset();
    if (result || result.error().code == ErrorCode::invalid) zone.confirmed = servers;
    if (result) {
        log_info("BROKER_DELEGATION_UPDATED", "prefix={} name-servers={}", prefix.to_string(),
                 servers.size());
    } else {
        zone.not_before = clock_.now() + retry_interval;  // the edge has logged it
    }
    if (zone.confirmed == zone.wanted && zone.wanted.empty()) {
        zones_.erase(at);
        return;
    }
    // Another wish may have come meanwhile: that one is not held back.
    if (zone.wanted != servers) zone.not_before = clock_.now();
    update(prefix, zone);
}

}  // namespace dstm::server
