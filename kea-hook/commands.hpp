// The commands of docs/wire/kea-stream.md, one set for both ways in: Kea's control channel and the
// hook's own socket. Knows no socket.
//
// Kea's main thread only.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include <cc/data.h>

#include "kea-hook/ending_queue.hpp"
#include "kea-hook/lease_store.hpp"
#include "kea-hook/policy.hpp"
#include "kea-hook/reply.hpp"
#include "kea-hook/serving.hpp"

namespace dstm::kea {

inline constexpr std::array<const char*, 6> command_names{
    "dstm4-lease-allocate", "dstm4-lease-renew", "dstm4-lease-release",
    "dstm4-lease-list",     "dstm4-lease-batch", "dstm4-status",
};

class Commands {
public:
    // Adds to the map what is known elsewhere.
    using AddStatus = std::function<void(const isc::data::ElementPtr& map)>;

    Commands(LeaseStore& store, Policy& policy, Serving& serving, EndingQueue& endings,
             AddStatus add_status);

    // Never throws. `cause` is the connection that asks, if it is one.
    [[nodiscard]] Reply run(const std::string& name, const isc::data::ConstElementPtr& arguments,
                            ConnectionId cause);

    // A batch, one command at a time, so that whoever runs it can do other things in between.
    class Batch {
    public:
        [[nodiscard]] bool done() const { return next_ == items_.size(); }
        void step();
        [[nodiscard]] Reply reply() const;

    private:
        friend class Commands;
        Commands* commands_ = nullptr;
        ConnectionId cause_ = no_connection;
        std::vector<isc::data::ElementPtr> items_;
        std::size_t next_ = 0;
        std::size_t size_ = 0;  // of the responses
        isc::data::ElementPtr responses_;
    };
    [[nodiscard]] tl::expected<Batch, Refusal> start_batch(
        const isc::data::ConstElementPtr& arguments, ConnectionId cause);

private:
    [[nodiscard]] Reply dispatch(const std::string& name,
                                 const isc::data::ConstElementPtr& arguments, ConnectionId cause);
    [[nodiscard]] Reply allocate(const isc::data::ConstElementPtr& arguments, ConnectionId cause);
    [[nodiscard]] Reply renew(const isc::data::ConstElementPtr& arguments);
    [[nodiscard]] Reply release(const isc::data::ConstElementPtr& arguments, ConnectionId cause);
    [[nodiscard]] Reply list(const isc::data::ConstElementPtr& arguments);
    [[nodiscard]] Reply batch(const isc::data::ConstElementPtr& arguments, ConnectionId cause);
    [[nodiscard]] Reply status(const isc::data::ConstElementPtr& arguments);
    [[nodiscard]] tl::expected<isc::dhcp::Lease4Ptr, Refusal> owned_lease(
        std::uint32_t address, const Bytes& client_id, std::int64_t generation) const;

    LeaseStore& store_;
    Policy& policy_;
    Serving& serving_;
    EndingQueue& endings_;
    AddStatus add_status_;
};

}  // namespace dstm::kea
