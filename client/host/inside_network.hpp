// A delegated prefix put to use behind this host (RFC 5572 s5.2): the first /64's ::1 on the inside
// interface, forwarding, a route to nowhere for what is not in use (RFC 7084 WPD-5), and a script
// of the operator's that is told (radvd and the like are its business).
//
// What it changes is on record before it is changed; undo() needs nothing but the record, so that
// the start after a kill can do it.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "client/host/script.hpp"
#include "client/host/state_directory.hpp"
#include "common/dataplane/netlink.hpp"

namespace dstm::client {

struct InsideConfig {
    std::string interface;
    std::string script;  // empty: none
};

class InsideNetwork {
public:
    InsideNetwork(dataplane::Netlink& netlink, std::optional<InsideConfig> config)
        : netlink_(netlink), config_(std::move(config)) {}

    // What would have to be undone once `prefix` is in use; nothing without a prefix or an inside.
    [[nodiscard]] std::optional<InsideChanges> plan(const std::optional<Ipv6Prefix>& prefix,
                                                    const std::string& device) const;
    // It could be in force, for the interface is there, and is not.
    [[nodiscard]] bool is_lacking(const InsideChanges& changes);
    // Of a plan that is on record. Again is no error.
    [[nodiscard]] Result<void> apply(const InsideChanges& changes, const std::string& device);
    // As much as can be; the first failure.
    [[nodiscard]] Result<void> undo(const InsideChanges& changes);

private:
    dataplane::Netlink& netlink_;
    std::optional<InsideConfig> config_;
    std::optional<Ipv6Prefix> applied_;  // the script has been told of it
    ScriptRunner scripts_;
};

}  // namespace dstm::client
