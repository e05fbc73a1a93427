// The commands of docs/wire/kea-stream.md, one set for both ways in: Kea's control channel and the
// hook's own socket. Knows no socket.
//
// Kea's main thread only.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <tl/expected.hpp>

#include <cc/data.h>

#include "kea-hook/ending_queue.hpp"
#include "kea-hook/lease_store.hpp"
#include "kea-hook/policy.hpp"
#include "kea-hook/reply.hpp"
#include "kea-hook/serving.hpp"
#include "kea-hook/task.hpp"

namespace dstm::kea {

// Behind "dstm4-" in kea-dhcp4, behind "dstm6-" in kea-dhcp6.
inline constexpr std::array<const char*, 6> command_names{
    "lease-allocate", "lease-renew", "lease-release", "lease-list", "lease-batch", "status",
};
[[nodiscard]] const char* command_prefix(int family);

class Commands {
public:
    // Adds to the map what is known elsewhere.
    using AddStatus = std::function<void(const isc::data::ElementPtr& map)>;

    Commands(LeaseStore& store, Policy& policy, Serving& serving, AddStatus add_status);

    // `cause` is the connection that asks, if it is one.
    [[nodiscard]] std::unique_ptr<Task> start(const std::string& name,
                                              const isc::data::ConstElementPtr& arguments,
                                              ConnectionId cause);
    // All steps at once.
    [[nodiscard]] Reply run(const std::string& name, const isc::data::ConstElementPtr& arguments,
                            ConnectionId cause);

private:
    class OneStep;

    [[nodiscard]] Reply change(const std::string& verb, const isc::data::ConstElementPtr& arguments,
                               ConnectionId cause);
    [[nodiscard]] Reply allocate(const isc::data::ConstElementPtr& arguments, ConnectionId cause);
    [[nodiscard]] Reply renew(const isc::data::ConstElementPtr& arguments, ConnectionId cause);
    [[nodiscard]] Reply release(const isc::data::ConstElementPtr& arguments, ConnectionId cause);
    [[nodiscard]] Reply status(const isc::data::ConstElementPtr& arguments);
    [[nodiscard]] tl::expected<ClientLease, Refusal> owned_lease(const IOAddress& address,
                                                                 const Bytes& client_id,
                                                                 std::int64_t generation) const;
    // Without the prefix; empty if there is no such command.
    [[nodiscard]] std::string verb_of(const std::string& name) const;

    LeaseStore& store_;
    Policy& policy_;
    Serving& serving_;
    AddStatus add_status_;
};

}  // namespace dstm::kea
