// The bindings the server knows, with the counts that limits and load ask for. Values only: no edge
// and no time. The lease store holds the truth; this table is what we believe of it.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "common/base/ip_address.hpp"
#include "dstm-server/ports.hpp"

namespace dstm::server {

class BindingTable {
public:
    // The binding that was accepted, or read back from Kea; nullptr when there is none.
    [[nodiscard]] const Lease* active(const ClientId& id) const;
    void set_active(const Lease& lease);
    void clear_active(const ClientId& id);

    // What a create under way is about to hold; counts instead of the client's active binding.
    void reserve(const ClientId& id, const BindingContext& context);
    void unreserve(const ClientId& id);

    // Tunnels that others than `except` have or are about to have.
    [[nodiscard]] std::size_t count_of_user(const std::string& user, const ClientId& except) const;
    [[nodiscard]] std::size_t count_of_source(const IpAddress& outer, const ClientId& except) const;
    // Who else has, or is about to have, a tunnel to this very outer address and port.
    [[nodiscard]] std::optional<ClientId> other_at(const IpEndpoint& outer,
                                                   const ClientId& except) const;
    // What an endpoint carries or is about to.
    [[nodiscard]] std::size_t count_of_endpoint(const std::string& name) const;
    [[nodiscard]] std::size_t active_count() const { return active_count_; }

    // In the order of client ids; `visit` does not change the table.
    template <class Visit>
    void for_each_active(Visit visit) const {
        for (const auto& [id, entry] : entries_) {
            if (entry.active) visit(*entry.active);
        }
    }

private:
    struct Entry {
        std::optional<Lease> active;
        std::optional<BindingContext> reserved;
        [[nodiscard]] const BindingContext* counted() const;
    };
    template <class Change>
    void change(ClientId id, Change apply);
    void count(const BindingContext& context, bool up);
    void place(const Entry& entry, const ClientId& id, bool is_there);

    std::map<ClientId, Entry> entries_;
    std::map<IpEndpoint, std::set<ClientId>> outers_;  // of active and of reserved
    std::map<std::string, std::size_t> per_user_;
    std::map<IpAddress, std::size_t> per_source_;
    std::map<std::string, std::size_t> per_endpoint_;
    std::size_t active_count_ = 0;
};

}  // namespace dstm::server
