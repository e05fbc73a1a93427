// The hook as a whole: puts the parts together, and is what the callouts call.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include <dhcpsrv/network_state.h>

#include "common/base/result.hpp"
#include "kea-hook/commands.hpp"
#include "kea-hook/ending_queue.hpp"
#include "kea-hook/lease_store.hpp"
#include "kea-hook/parameters.hpp"
#include "kea-hook/policy.hpp"
#include "kea-hook/serving.hpp"
#include "kea-hook/stream.hpp"

namespace dstm::kea {

class Hook {
public:
    // Opens the socket and hands it to Kea's event loop. `family` is Kea's, AF_INET or AF_INET6.
    [[nodiscard]] static Result<std::unique_ptr<Hook>> start(const Parameters& parameters,
                                                             int family);
    ~Hook();
    Hook(const Hook&) = delete;
    Hook& operator=(const Hook&) = delete;

    // Kea's main thread.
    void configured(const isc::dhcp::NetworkStatePtr& network_state);
    [[nodiscard]] Reply control_command(const std::string& name,
                                        const isc::data::ConstElementPtr& arguments);
    void command_processed(const std::string& name, const isc::data::ConstElementPtr& arguments,
                           const isc::data::ConstElementPtr& response);

    // Any thread.
    void lease_ended(EndingKind kind, const isc::dhcp::Lease& row);

private:
    class Request;

    explicit Hook(int family);
    [[nodiscard]] std::string greeting(ConnectionId id);
    [[nodiscard]] std::string event_line(ConnectionId id, const std::string& name,
                                         const isc::data::ElementPtr& arguments);
    void deliver_endings();
    void deliver(const Ending& ending);
    void deliver_end_of_address(const Ending& ending);
    void deliver_end_of_prefix(const Ending& ending);
    [[nodiscard]] bool is_given_again(const isc::dhcp::Lease& row) const;
    void learn_again();
    void broadcast(const std::string& name, const isc::data::ElementPtr& arguments,
                   ConnectionId except);

    LeaseStore store_;
    EndingQueue endings_;
    Policy policy_;
    Serving serving_;
    Commands commands_;
    std::unique_ptr<Stream> stream_;
    std::map<ConnectionId, std::uint64_t> sequences_;  // of the last event, per connection
    std::uint64_t events_sent_ = 0;
    std::uint64_t requests_ = 0;
};

}  // namespace dstm::kea
