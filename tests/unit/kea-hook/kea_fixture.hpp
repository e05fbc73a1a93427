// Kea inside the test: lease database in memory, configuration by hand, the hook loaded as Kea
// loads it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <cc/data.h>
#include <dhcpsrv/lease.h>
#include <dhcpsrv/network_state.h>
#include <dhcpsrv/subnet.h>
#include <hooks/hooks_manager.h>

#include "kea_peer.hpp"

namespace dstm::kea {

// What both families' tests need.
class KeaWorld : public testing::Test {
protected:
    using Json = isc::data::ConstElementPtr;

    explicit KeaWorld(int family);
    ~KeaWorld() override;

    [[nodiscard]] bool load(const std::string& parameters);
    [[nodiscard]] bool load();
    void unload();
    // Kea's last act of a configuration.
    void configured();
    // What Kea does with the hook's descriptor while it waits.
    void pump();
    [[nodiscard]] std::function<void()> pumping() {
        return [this] { pump(); };
    }
    // As Kea's server does around a DHCP message or a command.
    static void callout(const std::string& point,
                        const std::function<void(isc::hooks::CalloutHandle&)>& arguments);
    static void operator_command(const std::string& name, const std::string& arguments,
                                 int result = 0);

    // Through Kea's control channel: the whole answer.
    Json command(const std::string& name, const std::string& arguments = "");
    [[nodiscard]] static std::string address_of(const Json& answer);
    [[nodiscard]] static std::string reason_of(const Json& answer);
    [[nodiscard]] static std::int64_t result_of(const Json& answer);
    [[nodiscard]] static std::int64_t statistic(const std::string& name);
    [[nodiscard]] static std::int64_t statistic(std::uint32_t subnet_id, const std::string& name);

    [[nodiscard]] static Json request(Peer& peer, const std::string& name,
                                      const std::string& arguments, const Peer::Pump& pump);
    // Connects and takes the greeting.
    std::unique_ptr<Peer> connect();
    [[nodiscard]] Json next(Peer& peer);
    [[nodiscard]] static std::string text(const Json& map, const std::string& name);
    // Nothing came by the time the hook has answered something else.
    void expect_silence(Peer& peer);
    void expect_event(Peer& peer, const std::string& name, const std::string& address);

    int family_;
    std::string folder_ = make_folder();
    std::string socket_ = folder_ + "/dstm.sock";
    isc::dhcp::NetworkStatePtr network_state_;
};

class KeaTest : public KeaWorld {
protected:
    KeaTest();

    // 192.0.2.0/24 id 1 with that pool, lifetimes 60, 3600, 7200 seconds.
    isc::dhcp::Subnet4Ptr add_subnet(const std::string& prefix, std::uint8_t length,
                                     const std::string& first, const std::string& last,
                                     std::uint32_t id);
    Json allocate(int client, const std::string& more = "");
    [[nodiscard]] static std::string client_id(int client);
    [[nodiscard]] static std::int64_t assigned(std::uint32_t subnet_id = 1);
    [[nodiscard]] static isc::dhcp::Lease4Ptr lease(const std::string& address);
    // Puts the lease's start so far back that it has ended.
    static void expire(const std::string& address);
    static void reclaim(bool remove);

    isc::dhcp::Subnet4Ptr subnet_;
};

class KeaTest6 : public KeaWorld {
protected:
    KeaTest6();

    // Pool of addresses ::1 to ::10 in `prefix`/64; lifetimes as in family 4, preferred 1800.
    isc::dhcp::Subnet6Ptr add_subnet(const std::string& prefix, std::uint32_t id);
    static void add_prefixes(const isc::dhcp::Subnet6Ptr& subnet, const std::string& prefix,
                             std::uint8_t length, std::uint8_t delegated);
    Json allocate(int client, const std::string& more = "");
    Json renew(const std::string& address, int client, const std::string& more = "");
    Json release(const std::string& address, int client, const std::string& more = "");
    [[nodiscard]] static std::string client_id(int client);
    [[nodiscard]] static std::string prefix_of(const Json& answer);
    [[nodiscard]] static isc::dhcp::Lease6Ptr lease(const std::string& address);
    [[nodiscard]] static isc::dhcp::Lease6Ptr prefix(const std::string& address);
    [[nodiscard]] static std::int64_t addresses(std::uint32_t subnet_id = 1);
    [[nodiscard]] static std::int64_t prefixes(std::uint32_t subnet_id = 1);
    static void expire(const isc::dhcp::Lease6Ptr& row);
    static void reclaim(bool remove);

    isc::dhcp::Subnet6Ptr subnet_;
};

}  // namespace dstm::kea
