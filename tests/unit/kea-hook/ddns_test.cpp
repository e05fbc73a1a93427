// What the hook tells kea-dhcp-ddns, in both families, and which names leases get. A UDP socket of
// the test's stands for kea-dhcp-ddns.
#include "kea_fixture.hpp"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/make_shared.hpp>

#include <dhcpsrv/cfg_hosts.h>
#include <dhcpsrv/cfgmgr.h>
#include <dhcpsrv/d2_client_mgr.h>
#include <dhcpsrv/host.h>
#include <dhcpsrv/host_mgr.h>

namespace dstm::kea {
namespace {

using isc::asiolink::IOAddress;
using isc::dhcp::CfgMgr;
using isc::dhcp::D2ClientConfig;
using isc::dhcp::D2ClientMgr;

// `World` is KeaTest or KeaTest6.
template <class World>
class Ddns : public World {
protected:
    using Json = typename World::Json;

    Ddns() : d2_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
        EXPECT_TRUE(World::load());
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof(address);
        auto* const generic = reinterpret_cast<sockaddr*>(&address);
        EXPECT_EQ(::bind(d2_, generic, size), 0);
        EXPECT_EQ(::getsockname(d2_, generic, &size), 0);
        isc::dhcp::D2ClientConfigPtr config(new D2ClientConfig(
            true, IOAddress("127.0.0.1"), ntohs(address.sin_port), IOAddress("127.0.0.1"), 0, 1024,
            isc::dhcp_ddns::NCR_UDP, isc::dhcp_ddns::FMT_JSON));
        CfgMgr::instance().setD2ClientConfig(config);
        manager().startSender([](auto, auto&) {});
        World::subnet_->setDdnsSendUpdates(true);
        World::subnet_->setDdnsQualifyingSuffix("example.org");
        World::subnet_->setDdnsGeneratedPrefix("host");
    }
    ~Ddns() override {
        manager().stopSender();
        isc::dhcp::D2ClientConfigPtr off(new D2ClientConfig());
        CfgMgr::instance().setD2ClientConfig(off);
        ::close(d2_);
    }
    static D2ClientMgr& manager() { return CfgMgr::instance().getD2ClientMgr(); }

    // What kea-dhcp-ddns was told since the last call: "+name address" and "-name address", with
    // "!" where a direction is missing.
    std::vector<std::string> told() {
        EXPECT_TRUE(wait_until([] { return manager().getQueueSize() == 0; },
                               [] { manager().runReadyIO(); }));
        std::vector<std::string> lines;
        char datagram[4096];
        constexpr ssize_t length_size = 2;
        for (ssize_t size;
             (size = ::recv(d2_, datagram, sizeof(datagram), MSG_DONTWAIT)) > length_size;) {
            const Json change = isc::data::Element::fromJSON(
                std::string(datagram + length_size, static_cast<std::size_t>(size - length_size)));
            const bool both = change->get("forward-change")->boolValue() &&
                              change->get("reverse-change")->boolValue();
            lines.push_back((change->get("change-type")->intValue() == 0 ? "+" : "-") +
                            World::text(change, "fqdn") + " " + World::text(change, "ip-address") +
                            (both ? "" : "!"));
        }
        return lines;
    }
    std::string name_of(int client, const std::string& hostname) {
        const auto answer =
            World::allocate(client, hostname.empty() ? "" : "\"hostname\": \"" + hostname + "\"");
        return World::text(answer, "arguments/hostname");
    }

    int d2_;
};

using Lines = std::vector<std::string>;

class KeaDdns : public Ddns<KeaTest> {};

TEST_F(KeaDdns, NamesComeChangeAndGoWithTheLease) {
    EXPECT_EQ(name_of(1, "Lab-7"), "lab-7.example.org.");
    EXPECT_EQ(told(), Lines{"+lab-7.example.org. 192.0.2.10"});
    EXPECT_EQ(name_of(1, ""), "lab-7.example.org.");
    const std::string named =
        "{\"ip-address\": \"192.0.2.10\", \"client-id\": \"" + client_id(1) + "\"}";
    EXPECT_EQ(text(command("dstm4-lease-renew", named), "arguments/hostname"),
              "lab-7.example.org.");
    EXPECT_EQ(told(), Lines{});
    name_of(1, "lab-8");
    EXPECT_EQ(told(), (Lines{"-lab-7.example.org. 192.0.2.10", "+lab-8.example.org. 192.0.2.10"}));
    command("dstm4-lease-release", named);
    EXPECT_EQ(told(), Lines{"-lab-8.example.org. 192.0.2.10"});
    name_of(2, "");
    EXPECT_EQ(told(), Lines{});
}

TEST_F(KeaDdns, AnotherAddressTakesTheNameAlong) {
    const std::string address = address_of(allocate(1, R"("hostname": "lab-7")"));
    told();
    expire(address);
    EXPECT_EQ(address_of(allocate(1, R"("hostname": "lab-7", "requested-address": "192.0.2.25")")),
              "192.0.2.25");
    EXPECT_EQ(told(), (Lines{"-lab-7.example.org. 192.0.2.10", "+lab-7.example.org. 192.0.2.25"}));
}

TEST_F(KeaDdns, KeasOwnExpiryRemovesTheName) {
    const std::string address = address_of(allocate(1, R"("hostname": "lab-7")"));
    told();
    expire(address);
    reclaim(true);
    EXPECT_EQ(told(), Lines{"-lab-7.example.org. 192.0.2.10"});
}

TEST_F(KeaDdns, WithoutUpdatesTheNameIsOnlyKept) {
    subnet_->setDdnsSendUpdates(false);
    EXPECT_EQ(name_of(1, "lab-7"), "lab-7.example.org");
    EXPECT_EQ(told(), Lines{});
    subnet_->setDdnsSendUpdates(true);
    EXPECT_EQ(name_of(1, ""), "lab-7.example.org.");
    EXPECT_EQ(told(), (Lines{"+lab-7.example.org. 192.0.2.10"}));
}

TEST_F(KeaDdns, AFinalDotMeansThatNothingIsAdded) {
    EXPECT_EQ(name_of(1, "www.example.net."), "www.example.net.");
    EXPECT_EQ(told(), Lines{"+www.example.net. 192.0.2.10"});
}

TEST_F(KeaDdns, TheCharacterSetIsAppliedLabelByLabel) {
    subnet_->setHostnameCharSet("[^A-Za-z0-9-]");
    subnet_->setHostnameCharReplacement("x");
    EXPECT_EQ(name_of(1, "my_lab.room_5"), "myxlab.roomx5.example.org.");
    subnet_->setHostnameCharReplacement("");
    EXPECT_EQ(name_of(2, "_._"), "") << "nothing is left of it";
}

TEST_F(KeaDdns, NamesAreMadeFromTheAddressWhereKeaIsToNameClients) {
    using Mode = D2ClientConfig;
    const auto names = [&](int client, D2ClientConfig::ReplaceClientNameMode mode) {
        subnet_->setDdnsReplaceClientNameMode(mode);
        const std::string with_name = name_of(client, "mine");
        return with_name + " " + name_of(client + 1, "");
    };
    EXPECT_EQ(names(1, Mode::RCM_NEVER), "mine.example.org. ");
    EXPECT_EQ(names(3, Mode::RCM_ALWAYS),
              "host-192-0-2-12.example.org. host-192-0-2-13.example.org.");
    EXPECT_EQ(names(5, Mode::RCM_WHEN_PRESENT), "host-192-0-2-14.example.org. ");
    EXPECT_EQ(names(7, Mode::RCM_WHEN_NOT_PRESENT),
              "mine.example.org. host-192-0-2-17.example.org.");
    EXPECT_EQ(told().size(), 6U);
    EXPECT_EQ(name_of(8, ""), "host-192-0-2-17.example.org.") << "again the same";
    EXPECT_EQ(told(), Lines{});
}

TEST_F(KeaDdns, AReservedNameGoesBeforeAll) {
    isc::dhcp::HostMgr::create();
    const auto host = boost::make_shared<isc::dhcp::Host>(
        client_id(5).c_str(), "client-id", isc::dhcp::SubnetID(1), isc::dhcp::SUBNET_ID_UNUSED,
        IOAddress("192.0.2.24"));
    host->setHostname("reserved");
    CfgMgr::instance().getStagingCfg()->getCfgHosts()->add(host);
    CfgMgr::instance().getCurrentCfg()->getCfgHosts()->add(host);
    EXPECT_EQ(name_of(5, "mine"), "reserved.example.org.");
    subnet_->setDdnsReplaceClientNameMode(D2ClientConfig::RCM_ALWAYS);
    EXPECT_EQ(name_of(5, "mine"), "reserved.example.org.");
}

TEST_F(KeaDdns, ARenewalTellsAgainOnlyIfKeaIsToldSo) {
    name_of(1, "lab-7");
    told();
    subnet_->setDdnsUpdateOnRenew(true);
    name_of(1, "lab-7");
    EXPECT_EQ(told(), Lines{"+lab-7.example.org. 192.0.2.10"});
}

class KeaDdns6 : public Ddns<KeaTest6> {
protected:
    KeaDdns6() { add_prefixes(subnet_, "2001:db8:200::", 54, 56); }
};

TEST_F(KeaDdns6, NamesComeChangeAndGoWithTheLease) {
    const auto first = allocate(1, R"("hostname": "Lab-7", "prefix-length": 56)");
    EXPECT_EQ(text(first, "arguments/hostname"), "lab-7.example.org.");
    EXPECT_EQ(told(), Lines{"+lab-7.example.org. 2001:db8:100::1"}) << "a prefix has no name";
    EXPECT_EQ(text(renew("2001:db8:100::1", 1), "arguments/hostname"), "lab-7.example.org.");
    EXPECT_EQ(text(allocate(1), "arguments/hostname"), "lab-7.example.org.");
    EXPECT_EQ(told(), Lines{});
    EXPECT_EQ(name_of(1, "lab-8"), "lab-8.example.org.");
    EXPECT_EQ(told(), (Lines{"-lab-7.example.org. 2001:db8:100::1",
                             "+lab-8.example.org. 2001:db8:100::1"}));
    release("2001:db8:100::1", 1);
    EXPECT_EQ(told(), Lines{"-lab-8.example.org. 2001:db8:100::1"});
}

TEST_F(KeaDdns6, ExpiryAndTheEndOfThePrefixRemoveTheName) {
    allocate(1, R"("hostname": "lab-7", "prefix-length": 56)");
    told();
    expire(lease("2001:db8:100::1"));
    expire(prefix("2001:db8:200::"));
    reclaim(false);
    EXPECT_EQ(told(), Lines{"-lab-7.example.org. 2001:db8:100::1"});
    pump();
    allocate(1, R"("hostname": "lab-7", "prefix-length": 56)");
    told();
    expire(prefix("2001:db8:200::"));
    reclaim(true);
    ASSERT_TRUE(wait_until([&] { return !lease("2001:db8:100::1"); }, pumping()));
    EXPECT_EQ(told(), Lines{"-lab-7.example.org. 2001:db8:100::1"});
}

TEST_F(KeaDdns6, NamesAreMadeFromTheAddressWhereKeaIsToNameClients) {
    subnet_->setDdnsReplaceClientNameMode(D2ClientConfig::RCM_ALWAYS);
    EXPECT_EQ(name_of(1, "mine"), "host-2001-db8-100--1.example.org.");
    EXPECT_EQ(text(renew("2001:db8:100::1", 1), "arguments/hostname"),
              "host-2001-db8-100--1.example.org.");
    EXPECT_EQ(told(), Lines{"+host-2001-db8-100--1.example.org. 2001:db8:100::1"});
}

TEST_F(KeaDdns6, AnotherSubnetTakesTheNameAlong) {
    const auto second = add_subnet("2001:db8:101::", 2);
    second->setDdnsSendUpdates(true);
    second->setDdnsQualifyingSuffix("example.net");
    allocate(1, R"("subnet-id": 1, "hostname": "lab-7")");
    told();
    allocate(1, R"("subnet-id": 2, "hostname": "lab-7")");
    EXPECT_EQ(told(), (Lines{"-lab-7.example.org. 2001:db8:100::1",
                             "+lab-7.example.net. 2001:db8:101::1"}));
}

}  // namespace
}  // namespace dstm::kea
