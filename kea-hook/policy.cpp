// See the header.
#include "kea-hook/policy.hpp"

#include <algorithm>
#include <chrono>

#include <dhcpsrv/pool.h>
#include <dhcpsrv/subnet.h>

#include "kea-hook/names.hpp"

namespace dstm::kea {

using isc::dhcp::Lease;
using isc::dhcp::Pool6;

namespace {

// Candidates of one pool that Kea may refuse (reserved for others, taken this moment) before the
// pool counts as exhausted for this request.
constexpr int candidates_max = 64;

bool is_wanted(const Lease& row, const Wanted& wanted) {
    if (row.getType() != wanted.type || row.stateDeclined()) return false;
    const auto* row6 = dynamic_cast<const isc::dhcp::Lease6*>(&row);
    return row6 == nullptr || row6->prefixlen_ == wanted.length;
}

// The pool as a range to walk, if it gives what is wanted.
std::optional<AddressRange> range_of(const isc::dhcp::Pool& pool, const Wanted& wanted) {
    const auto* pool6 = dynamic_cast<const Pool6*>(&pool);
    if (pool6 != nullptr && pool6->getLength() != wanted.length) return std::nullopt;
    const int width = wanted.type == Lease::TYPE_V4 ? 32 : 128;
    return AddressRange{.first = to_number(pool.getFirstAddress()),
                        .last = to_number(pool.getLastAddress()),
                        .step = Number{1} << (width - wanted.length),
                        .kind = wanted.type};
}

Wanted address_in(int family) {
    return family == AF_INET ? Wanted{Lease::TYPE_V4, 32} : Wanted{Lease::TYPE_NA, 128};
}

// Whether it is worth asking the engine for this very one.
bool may_give(const isc::dhcp::Subnet& subnet, const Wanted& wanted, const IOAddress& address) {
    if (wanted.type != Lease::TYPE_PD) return subnet.inRange(address);
    const auto pool = subnet.getPool(wanted.type, address, false);
    return pool && range_of(*pool, wanted);
}

bool same_row(const RowPtr& one, const RowPtr& other) {
    return one && other && one->getType() == other->getType() && one->addr_ == other->addr_;
}

}  // namespace

// One subnet that may serve one client.
struct Policy::Attempt {
    SubnetPtr subnet;
    RowPtr held;                    // what the client has there in the database, live or not
    std::optional<IOAddress> last;  // the address of it, also after it is gone
    Standing standing;

    [[nodiscard]] bool has_live() const { return held && is_live(*held); }
};

Policy::Policy(LeaseStore& store, EndingQueue& endings)
    : store_(store),
      endings_(endings),
      free_([&store](const AddressRange& pool, Number from, std::size_t limit) {
          return store.in_use(pool, from, limit);
      }),
      engine_(store.family() == AF_INET ? make_engine4() : make_engine6()) {}

tl::expected<Grant, Refusal> Policy::allocate(const LeaseRequest& request, ConnectionId cause) {
    auto subnets = engine_->subnets(request.subnet_id);
    if (subnets.empty() && request.subnet_id != 0) {
        return tl::unexpected(Refusal{Reason::bad_request, "argument 'subnet-id': no subnet " +
                                                               std::to_string(request.subnet_id)});
    }
    gone_.clear();
    const auto rows = store_.database().of_client(request.client_id);
    Found prefix;
    if (request.prefix_length) {
        prefix = find(request, {Lease::TYPE_PD, *request.prefix_length}, subnets, rows);
        if (!prefix) {
            abandon(nullptr);
            return tl::unexpected(
                Refusal{Reason::prefix_unavailable,
                        "no free prefix of length " + std::to_string(*request.prefix_length)});
        }
        subnets = engine_->subnets(prefix->row->subnet_id_);
    }
    const auto address = find(request, address_in(store_.family()), subnets, rows);
    if (!address) {
        abandon(prefix ? &*prefix : nullptr);
        return tl::unexpected(Refusal{Reason::pool_exhausted, "no free address"});
    }
    return conclude(*address, prefix, rows, cause);
}

Policy::Found Policy::find(const LeaseRequest& request, const Wanted& wanted,
                           const std::vector<SubnetPtr>& subnets, const std::vector<RowPtr>& rows) {
    std::vector<Attempt> attempts;
    for (const auto& subnet : subnets) {
        Attempt attempt{.subnet = subnet, .held = {}, .last = {}, .standing = {}};
        for (const auto& row : rows) {
            if (row->subnet_id_ != subnet->getID() || !is_wanted(*row, wanted)) continue;
            attempt.held = row;
            attempt.last = row->addr_;
        }
        // Kept by Kea for a while after it was reclaimed. Left in the database, Kea's engine would
        // count it as given back twice when it replaces it.
        if (attempt.held && attempt.held->stateExpiredReclaimed()) {
            store_.remove(attempt.held);
            attempt.held.reset();
        }
        attempts.push_back(std::move(attempt));
    }
    // A subnet where the client has a live lease comes first, whatever the order.
    std::stable_partition(attempts.begin(), attempts.end(),
                          [](const Attempt& attempt) { return attempt.has_live(); });
    if (auto found = find_known(request, wanted, attempts)) return found;
    return find_free(request, wanted, attempts);
}

Policy::Found Policy::ask(const LeaseRequest& request, const Wanted& wanted, Attempt& attempt,
                          const std::optional<IOAddress>& address) {
    auto outcome = engine_->ask(request, wanted, attempt.subnet, attempt.held, address);
    for (const auto& row : outcome.gone) {
        gone_.push_back(row);
        if (same_row(row, attempt.held)) attempt.held.reset();
    }
    if (!outcome.row) return std::nullopt;
    return outcome;
}

// What this client has, wishes for, had, or is reserved.
Policy::Found Policy::find_known(const LeaseRequest& request, const Wanted& wanted,
                                 std::vector<Attempt>& attempts) {
    for (auto& attempt : attempts) {
        if (!attempt.has_live()) break;
        if (auto found = ask(request, wanted, attempt, attempt.last)) return found;
    }
    const auto& wish = wanted.type == Lease::TYPE_PD ? request.prefix : request.address;
    for (auto& attempt : attempts) {
        if (!wish || !may_give(*attempt.subnet, wanted, *wish)) continue;
        if (auto found = ask(request, wanted, attempt, wish)) return found;
    }
    for (auto& attempt : attempts) {
        if (!attempt.last || attempt.has_live()) continue;
        if (auto found = ask(request, wanted, attempt, attempt.last)) return found;
    }
    for (auto& attempt : attempts) {
        attempt.standing = engine_->examine(request, wanted, attempt.subnet);
        if (!attempt.standing.supported || !attempt.standing.reserved) continue;
        if (auto found = ask(request, wanted, attempt, std::nullopt)) return found;
    }
    return std::nullopt;
}

Policy::Found Policy::find_free(const LeaseRequest& request, const Wanted& wanted,
                                std::vector<Attempt>& attempts) {
    const auto now = std::chrono::steady_clock::now();
    std::erase_if(attempts, [](const Attempt& attempt) { return !attempt.standing.supported; });
    bool has_pool = wanted.type != Lease::TYPE_PD;
    for (auto& attempt : attempts) {
        for (const auto& pool : attempt.subnet->getPools(wanted.type)) {
            if (!pool->clientSupported(attempt.standing.classes)) continue;
            const auto range = range_of(*pool, wanted);
            if (!range) continue;
            has_pool = true;
            for (int tried = 0; tried < candidates_max; ++tried) {
                const auto candidate = free_.next(*range, now);
                if (!candidate) break;
                const auto hint = to_address(*candidate, store_.family());
                auto found = ask(request, wanted, attempt, hint);
                if (!found) continue;
                free_.taken(*range);
                return found;
            }
        }
    }
    // The last word is the engine's: it counts and logs the failure as Kea's operators know it. But
    // it would look through pools of other prefix lengths, too.
    if (attempts.empty() || !has_pool) return std::nullopt;
    return ask(request, wanted, attempts.front(), std::nullopt);
}

tl::expected<Grant, Refusal> Policy::renew(const ClientLease& lease, const LeaseRequest& request,
                                           ConnectionId cause) {
    gone_.clear();
    const auto again = [&](const RowPtr& row, const Wanted& wanted) -> Found {
        const auto subnets = engine_->subnets(row->subnet_id_);
        if (subnets.empty()) return std::nullopt;
        Attempt attempt{.subnet = subnets.front(), .held = row, .last = row->addr_, .standing = {}};
        return ask(request, wanted, attempt, row->addr_);
    };
    Found prefix;
    if (const auto row = boost::dynamic_pointer_cast<isc::dhcp::Lease6>(lease.prefix)) {
        prefix = again(row, {Lease::TYPE_PD, row->prefixlen_});
    }
    Found address;
    if (prefix || !lease.prefix) address = again(lease.address, address_in(store_.family()));
    if (address) return conclude(*address, prefix, {lease.address, lease.prefix}, cause);
    abandon(nullptr);
    return tl::unexpected(Refusal{Reason::not_found,
                                  "the configuration no longer gives this address to this client"});
}

// Nothing comes of it: what was newly given goes back, what the engine has ended is told.
void Policy::abandon(const Outcome* prefix) {
    if (prefix != nullptr && !prefix->before && store_.remove(prefix->row)) freed(*prefix->row);
    for (const auto& row : gone_) tell(EndingKind::deleted, row, no_connection);
    if (!gone_.empty()) engine_->commit(nullptr, {}, gone_);
}

// Everything that follows what the engine has written.
Grant Policy::conclude(const Outcome& address, const Found& prefix, const std::vector<RowPtr>& rows,
                       ConnectionId cause) {
    Grant grant;
    grant.lease = {address.row, prefix ? prefix->row : nullptr};
    grant.reused = address.before != nullptr;
    // In family 6 a client has one lease. In family 4 it may have one in each shared network, which
    // is the engine's business.
    if (store_.family() == AF_INET6) {
        for (const auto& row : rows) end_if_left(row, grant.lease);
    }
    for (const auto& row : gone_) {
        freed(*row);
        if (is_prefix(*row)) continue;
        store_.forget(row->addr_);
        const bool was_live = is_live(*row);
        tell(was_live ? EndingKind::deleted : EndingKind::expired, row,
             was_live ? cause : no_connection);
    }
    store_.note(grant.lease);
    engine_->update_dns(address);
    std::vector<RowPtr> given{grant.lease.address};
    if (grant.lease.prefix) given.push_back(grant.lease.prefix);
    engine_->commit(address.query, given, gone_);
    return grant;
}

void Policy::end_if_left(const RowPtr& row, const ClientLease& granted) {
    if (!row || !is_ours(*row) || row->stateExpiredReclaimed()) return;
    if (same_row(row, granted.address) || same_row(row, granted.prefix)) return;
    const auto is_it = [&row](const RowPtr& other) { return same_row(row, other); };
    if (std::any_of(gone_.begin(), gone_.end(), is_it)) return;
    // What is not there any more the engine has ended without saying so, but not without DNS.
    if (store_.remove(row)) queue_dns(isc::dhcp_ddns::CHG_REMOVE, row);
    gone_.push_back(row);
}

bool Policy::release(const ClientLease& lease, ConnectionId cause) {
    std::vector<RowPtr> deleted;
    for (const auto& row : {lease.address, lease.prefix}) {
        if (!row || !store_.remove(row)) continue;
        freed(*row);
        queue_dns(isc::dhcp_ddns::CHG_REMOVE, row);
        deleted.push_back(row);
    }
    if (deleted.empty()) return false;
    engine_->commit(nullptr, {}, deleted);
    endings_.push({EndingKind::released, lease, cause});
    return true;
}

void Policy::end_rest(const RowPtr& rest) {
    const auto& database = store_.database();
    const auto now =
        is_prefix(*rest) ? database.find_prefix(rest->addr_) : database.find_address(rest->addr_);
    // Past its end it is Kea's to reclaim.
    if (!now || !is_live(*now) || client_id_of(*now) != client_id_of(*rest)) return;
    if (!store_.remove(now)) return;
    freed(*now);
    queue_dns(isc::dhcp_ddns::CHG_REMOVE, now);
    engine_->commit(nullptr, {}, {now});
}

void Policy::freed(const Lease& row) { free_.freed(row.getType(), to_number(row.addr_)); }

void Policy::tell(EndingKind kind, const RowPtr& row, ConnectionId cause) {
    endings_.push({kind, is_prefix(*row) ? ClientLease{{}, row} : ClientLease{row, {}}, cause});
}

}  // namespace dstm::kea
