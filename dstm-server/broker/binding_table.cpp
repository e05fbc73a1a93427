// The table of bindings. See binding_table.hpp.
#include "dstm-server/broker/binding_table.hpp"

#include <algorithm>

#include "common/base/assert.hpp"

namespace dstm::server {
namespace {

template <class Key>
void step(std::map<Key, std::size_t>& counts, const Key& key, bool up) {
    if (up) {
        ++counts[key];
        return;
    }
    const auto at = counts.find(key);
    DSTM_ASSERT(at != counts.end() && at->second > 0);
    if (--at->second == 0) counts.erase(at);
}

template <class Key>
std::size_t look_up(const std::map<Key, std::size_t>& counts, const Key& key) {
    const auto at = counts.find(key);
    return at == counts.end() ? 0 : at->second;
}

}  // namespace

const BindingContext* BindingTable::Entry::counted() const {
    if (reserved) return &*reserved;
    return active ? &active->context : nullptr;
}

// Every change goes through here, so that the counts always follow the entries. The id is a copy:
// the caller's may live in the entry that goes.
template <class Change>
void BindingTable::change(ClientId id, Change apply) {
    Entry& entry = entries_[id];
    if (const auto* before = entry.counted()) count(*before, false);
    if (entry.active) --active_count_;
    place(entry, id, false);
    apply(entry);
    place(entry, id, true);
    if (entry.active) ++active_count_;
    if (const auto* after = entry.counted()) {
        count(*after, true);
    } else {
        entries_.erase(id);
    }
}

void BindingTable::count(const BindingContext& context, bool up) {
    step(per_user_, context.user, up);
    step(per_source_, context.outer_client.address, up);
    step(per_endpoint_, context.endpoint, up);
}

void BindingTable::place(const Entry& entry, const ClientId& id, bool is_there) {
    const auto put = [&](const IpEndpoint& outer) {
        auto& clients = outers_[outer];
        if (is_there) clients.insert(id);
        else clients.erase(id);
        if (clients.empty()) outers_.erase(outer);
    };
    if (entry.active) put(entry.active->context.outer_client);
    if (entry.reserved) put(entry.reserved->outer_client);
}

const Lease* BindingTable::active(const ClientId& id) const {
    const auto at = entries_.find(id);
    return at != entries_.end() && at->second.active ? &*at->second.active : nullptr;
}

void BindingTable::set_active(const Lease& lease) {
    change(lease.client_id, [copy = lease](Entry& entry) { entry.active = copy; });
}

void BindingTable::clear_active(const ClientId& id) {
    change(id, [](Entry& entry) { entry.active.reset(); });
}

void BindingTable::reserve(const ClientId& id, const BindingContext& context) {
    change(id, [&](Entry& entry) { entry.reserved = context; });
}

void BindingTable::unreserve(const ClientId& id) {
    change(id, [](Entry& entry) { entry.reserved.reset(); });
}

std::size_t BindingTable::count_of_user(const std::string& user, const ClientId& except) const {
    const auto at = entries_.find(except);
    const auto* own = at == entries_.end() ? nullptr : at->second.counted();
    return look_up(per_user_, user) - (own != nullptr && own->user == user ? 1 : 0);
}

std::size_t BindingTable::count_of_source(const IpAddress& outer, const ClientId& except) const {
    const auto at = entries_.find(except);
    const auto* own = at == entries_.end() ? nullptr : at->second.counted();
    const bool same = own != nullptr && own->outer_client.address == outer;
    return look_up(per_source_, outer) - (same ? 1 : 0);
}

std::optional<ClientId> BindingTable::other_at(const IpEndpoint& outer,
                                               const ClientId& except) const {
    const auto at = outers_.find(outer);
    if (at == outers_.end()) return std::nullopt;
    const auto other = std::ranges::find_if(at->second,
                                            [&](const ClientId& id) { return id != except; });
    return other == at->second.end() ? std::nullopt : std::optional(*other);
}

std::size_t BindingTable::count_of_endpoint(const std::string& name) const {
    return look_up(per_endpoint_, name);
}

}  // namespace dstm::server
