// Kea inside the test: lease database in memory, configuration by hand, the hook loaded as Kea
// loads it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include <cc/data.h>
#include <dhcpsrv/lease.h>
#include <dhcpsrv/network_state.h>
#include <dhcpsrv/subnet.h>

#include "kea_peer.hpp"

namespace dstm::kea {

class KeaTest : public testing::Test {
protected:
    using Json = isc::data::ConstElementPtr;

    KeaTest();
    ~KeaTest() override;

    // 192.0.2.0/24 id 1 with that pool, lifetimes 60, 3600, 7200 seconds.
    isc::dhcp::Subnet4Ptr add_subnet(const std::string& prefix, std::uint8_t length,
                                     const std::string& first, const std::string& last,
                                     std::uint32_t id);
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

    // Through Kea's control channel: the whole answer.
    Json command(const std::string& name, const std::string& arguments = "");
    Json allocate(int client, const std::string& more = "");
    [[nodiscard]] static std::string client_id(int client);
    [[nodiscard]] std::string address_of(const Json& answer);
    [[nodiscard]] static std::string reason_of(const Json& answer);
    [[nodiscard]] static std::int64_t result_of(const Json& answer);
    [[nodiscard]] static std::int64_t assigned(std::uint32_t subnet_id = 1);
    [[nodiscard]] static std::int64_t statistic(const std::string& name);
    [[nodiscard]] static isc::dhcp::Lease4Ptr lease(const std::string& address);
    // Puts the lease's start so far back that it has ended.
    static void expire(const std::string& address);
    static void reclaim(bool remove);

    [[nodiscard]] static Json request(Peer& peer, const std::string& name,
                                      const std::string& arguments, const Peer::Pump& pump);

    std::string folder_ = make_folder();
    std::string socket_ = folder_ + "/dstm4.sock";
    isc::dhcp::NetworkStatePtr network_state_;
    isc::dhcp::Subnet4Ptr subnet_;
};

}  // namespace dstm::kea
