// Where the server is: SRV records from a DNS server that the test is, and a name with a dead
// address beside a living one. Both need root for a network namespace.
#include "client/net/server_finder.hpp"

#include <fstream>
#include <map>

#include "client/net/signalling.hpp"
#include "common/io/real_clock.hpp"
#include "network_namespace.hpp"
#include "scripted_server.hpp"
#include "temporary_directory.hpp"

namespace dstm::client {
namespace {

using namespace std::chrono_literals;
using Bytes = std::vector<std::uint8_t>;

void append16(Bytes& out, unsigned value) {
    out.push_back(static_cast<std::uint8_t>(value >> 8));
    out.push_back(static_cast<std::uint8_t>(value & 0xff));
}

void append_name(Bytes& out, const std::string& name) {
    for (std::size_t begin = 0; begin < name.size();) {
        const auto end = std::min(name.find('.', begin), name.size());
        out.push_back(static_cast<std::uint8_t>(end - begin));
        out.insert(out.end(), name.begin() + static_cast<std::ptrdiff_t>(begin),
                   name.begin() + static_cast<std::ptrdiff_t>(end));
        begin = end + 1;
    }
    out.push_back(0);
}

// RFC 1035 s4.1: a header and a question; the answer section follows.
Bytes answer_to(unsigned id, const std::string& name, const std::vector<SrvRecord>& records) {
    Bytes out;
    append16(out, id);
    append16(out, records.empty() ? 0x8183 : 0x8180);  // NXDOMAIN
    append16(out, 1);
    append16(out, static_cast<unsigned>(records.size()));
    append16(out, 0);
    append16(out, 0);
    append_name(out, name);
    append16(out, 33);
    append16(out, 1);
    for (const auto& record : records) {
        append16(out, 0xc00c);  // the question's name
        append16(out, 33);
        append16(out, 1);
        append16(out, 0);
        append16(out, 60);
        Bytes data;
        append16(data, record.priority);
        append16(data, record.weight);
        append16(data, record.target.port);
        append_name(data, record.target.host);
        append16(out, static_cast<unsigned>(data.size()));
        out.insert(out.end(), data.begin(), data.end());
    }
    return out;
}

const std::vector<SrvRecord> two_servers{{20, 0, {"backup.campus.example", 3700}},
                                         {10, 5, {"dstm.campus.example", 3653}}};

TEST(ClientSrv, RecordsAreReadAndTheServiceThatIsNotThereIsNone) {
    const auto records = parse_srv_answer(answer_to(7, "_tsp._tcp.campus.example", two_servers));
    ASSERT_TRUE(records);
    EXPECT_EQ(*records, two_servers);
    const auto none = parse_srv_answer(answer_to(7, "_tsp._tcp.x", {{0, 0, {"", 0}}}));
    ASSERT_TRUE(none);
    EXPECT_TRUE(none->empty());
}

TEST(ClientSrv, AnswerCutAtAnyByteDoesNoHarm) {
    const auto whole = answer_to(7, "_tsp._tcp.campus.example", two_servers);
    for (std::size_t size = 0; size < whole.size(); ++size) {
        const auto copy = Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
        EXPECT_FALSE(parse_srv_answer(copy)) << size;
    }
}

// RFC 2782.
TEST(ClientSrv, LowestPriorityFirstThenChanceByWeight) {
    std::mt19937_64 random(3);
    std::map<std::string, int> first;
    for (int i = 0; i < 1000; ++i) {
        const auto order = in_order_of_choice({{20, 99, {"last", 1}},
                                               {10, 90, {"often", 1}},
                                               {10, 10, {"seldom", 1}}},
                                              random);
        ASSERT_EQ(order.size(), 3U);
        EXPECT_EQ(order.back().host, "last");
        ++first[order.front().host];
    }
    EXPECT_NEAR(first["often"], 900, 50);
    EXPECT_NEAR(first["seldom"], 100, 50);
}

class ClientFinding : public testing::Test {
protected:
    void SetUp() override {
        if (geteuid() != 0) GTEST_SKIP() << "needs root for a network namespace";
        if (access("/dev/net/tun", R_OK | W_OK) != 0) GTEST_SKIP() << "no /dev/net/tun";
    }
    // The network namespace's own loopback, up.
    static dataplane::Netlink loopback_up() {
        auto netlink = std::move(*dataplane::Netlink::open());
        EXPECT_TRUE(netlink.set_interface_up(*netlink.interface_index("lo"), true));
        return netlink;
    }
    std::string write(const char* name, const std::string& text) {
        const auto path = directory_.path() + '/' + name;
        std::ofstream(path) << text;
        return path;
    }
    TemporaryDirectory directory_;
};

// What each name has; a name without an entry is answered with SERVFAIL.
using Zone = std::map<std::string, std::vector<SrvRecord>>;

class DnsThread {
public:
    explicit DnsThread(Zone zone)
        : zone_(std::move(zone)),
          socket_(context_, {asio::ip::address_v4::loopback(), 53}),
          thread_([this] { serve(); }) {}
    ~DnsThread() {
        ErrorCodeOfAsio ignored;  // wakes the thread, although nobody is connected
        socket_.shutdown(asio::ip::udp::socket::shutdown_both, ignored);
        thread_.join();
    }

private:
    void serve() {
        for (;;) {
            Bytes question(512);
            asio::ip::udp::endpoint from;
            ErrorCodeOfAsio error;
            const auto size = socket_.receive_from(asio::buffer(question), from, 0, error);
            if (error || size < 12) return;
            std::string name;
            for (std::size_t at = 12; question[at] != 0; at += question[at] + 1U) {
                const auto begin = question.begin() + static_cast<std::ptrdiff_t>(at) + 1;
                name += (name.empty() ? "" : ".") + std::string(begin, begin + question[at]);
            }
            const auto entry = zone_.find(name);
            auto answer = answer_to(static_cast<unsigned>(question[0] << 8 | question[1]), name,
                                    entry == zone_.end() ? std::vector<SrvRecord>{}
                                                         : entry->second);
            if (entry == zone_.end()) answer[3] = 0x82;
            socket_.send_to(asio::buffer(answer), from, 0, error);
        }
    }
    Zone zone_;
    asio::io_context context_;
    asio::ip::udp::socket socket_;
    std::thread thread_;
};

TEST_F(ClientFinding, SrvRecordOfASearchDomainNamesTheServers) {
    // RFC 2782: "." says that the service is decidedly not there; a domain that fails says nothing.
    const std::vector<SrvRecord> not_there{{0, 0, {"", 0}}};
    const std::vector<SrvRecord> nothing;
    const std::vector<Zone> zones{
        {{"_tsp._tcp.campus.example", two_servers},
         {"_tsp._udp.campus.example", nothing},
         {"_tsp._tcp.home.example", nothing},
         {"_tsp._udp.home.example", nothing}},
        {{"_tsp._tcp.campus.example", two_servers},
         {"_tsp._tcp.home.example", not_there},
         {"_tsp._udp.home.example", not_there}},
        {{"_tsp._tcp.campus.example", two_servers}},
        {{"_tsp._tcp.home.example", not_there}, {"_tsp._udp.home.example", two_servers}},
        {{"_tsp._tcp.home.example", two_servers}, {"_tsp._tcp.campus.example", not_there}}};
    for (const auto& zone : zones) {
        in_namespace([&] {
            const auto netlink = loopback_up();
            replace_file(write("resolv.conf", "nameserver 127.0.0.1\n"
                                              "search home.example campus.example\n"),
                         "/etc/resolv.conf");
            const DnsThread dns(zone);
            const auto found = find_servers({"_tsp._tcp", "_tsp._udp"});
            ASSERT_TRUE(found) << found.error().context;
            ASSERT_EQ(found->size(), 2U);
            EXPECT_EQ((*found)[0], (Target{"dstm.campus.example", 3653}));
            EXPECT_EQ((*found)[1], (Target{"backup.campus.example", 3700}));
        });
    }
}

TEST_F(ClientFinding, NoServiceAnywhereIsNotFoundAndSaysWhatWasAsked) {
    in_namespace([&] {
        const auto netlink = loopback_up();
        replace_file(write("resolv.conf", "nameserver 127.0.0.1\nsearch home.example\n"),
                     "/etc/resolv.conf");
        const DnsThread dns({{"_tsp._tcp.home.example", {{0, 0, {"", 0}}}}});
        const auto found = find_servers({"_tsp._tcp"});
        ASSERT_FALSE(found);
        EXPECT_EQ(found.error().code, ErrorCode::not_found);
        EXPECT_NE(found.error().context.find("_tsp._tcp.home.example"), std::string::npos);
    });
}

// RFC 8305 s5: the address that comes first is silent; the next one is not kept waiting for it.
TEST_F(ClientFinding, SilentAddressDoesNotKeepTheOthersWaiting) {
    in_namespace([this] {
        auto netlink = loopback_up();
        const int loopback = *netlink.interface_index("lo");
        const TunInterface silent("silent0");
        ASSERT_TRUE(netlink.add_address(loopback, *Ipv6Address::parse("2002:db8::1"), 128));
        ASSERT_TRUE(netlink.add_address(silent.index(), *Ipv6Address::parse("2001:db8::2"), 128));
        dataplane::Route route;
        route.destination = *Ipv6Prefix::parse("2001:db8::/64");
        route.interface_index = silent.index();
        ASSERT_TRUE(netlink.add_route(route));
        // RFC 6724 s2.1, rule 6: 6to4 comes after a native address.
        replace_file(write("hosts", "2002:db8::1 dstm.example\n2001:db8::1 dstm.example\n"),
                     "/etc/hosts");
        asio::io_context context;
        ScriptedServer server(context, {{"VERSION", "CAPABILITY TUNNEL=V4V6 AUTH=ANONYMOUS\r\n"}},
                              asio::ip::make_address("2002:db8::1"));
        RealClock clock;
        SignallingConfig config;
        config.mechanisms = {"ANONYMOUS"};
        config.transport = Transport::tcp;
        config.connect_timeout = 60s;
        const auto signalling = make_signalling(context, clock, config, [](const Event&) {});
        const auto begin = std::chrono::steady_clock::now();
        signalling->connect({"dstm.example", server.port()});
        while (server.accepted == 0 && std::chrono::steady_clock::now() < begin + 10s) {
            context.restart();
            context.run_one_for(50ms);
        }
        EXPECT_EQ(server.accepted, 1U);
        EXPECT_GE(std::chrono::steady_clock::now() - begin, 250ms) << "the head start";
    });
}

}  // namespace
}  // namespace dstm::client
