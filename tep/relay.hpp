// Signalling through the endpoint (RFC 5572 s4.4.1.2 over the port of v6udpv4): TSP datagrams that
// come to the data plane's UDP port go to one server, and its replies out of that port. It reads
// nothing in them but their size.
//
// Datagrams come on the data plane's thread and leave by the event thread. What is over a bound is
// dropped and counted, as a router does: the client repeats it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/base/bytes.hpp"
#include "common/base/clock.hpp"
#include "common/base/rate_table.hpp"
#include "common/io/fwd.hpp"
#include "common/teplink/message.hpp"

namespace dstm::dataplane {
class DataPlane;
}

namespace dstm::tep {

class ServerLink;

struct RelayCounters {
    std::uint64_t relayed = 0;      // handed to a server
    std::uint64_t returned = 0;     // replies that went out
    std::uint64_t oversize = 0;     // more than 4096 bytes
    std::uint64_t overrun = 0;      // came faster than the event thread takes them
    std::uint64_t limited = 0;      // the source's /64 or /24 had had its share
    std::uint64_t no_server = 0;    // no server is connected
    std::uint64_t link_busy = 0;    // the server's link had more than enough to do
    std::uint64_t not_sent = 0;     // a reply that the data plane would not send
};

class Relay {
public:
    static constexpr std::size_t waiting_max = 256;  // between the threads
    static constexpr RateTable::Rate rate_default{1000, 4000};  // of one source prefix
    static constexpr std::size_t peers_max = 16384;             // whose server is remembered, twice

    // Both outlive the relay, and the data plane's thread ends before it.
    Relay(asio::io_context& context, const Clock& clock, RateTable::Rate rate = rate_default);

    // On any thread.
    void hand_over(const IpEndpoint& peer, ConstBytes datagram);

    // --- on the event thread ---------------------------------------------------------------------
    // Where to: whichever of these is up. They outlive the relay's last call.
    void set_links(std::vector<std::shared_ptr<ServerLink>> links) { links_ = std::move(links); }
    // A server's reply.
    void send_back(dataplane::DataPlane& plane, const teplink::Datagram& reply);
    [[nodiscard]] RelayCounters counters() const;

private:
    // While a link stays up, a peer stays with it, whatever other links come up: the dialogue is
    // there. Two generations of a bounded map stand for "longest silent first".
    struct Hash {
        std::size_t operator()(const IpEndpoint& peer) const;
    };
    using Peers = std::unordered_map<IpEndpoint, std::size_t, Hash>;

    void relay(const teplink::Datagram& datagram);
    [[nodiscard]] ServerLink* server_of(const IpEndpoint& peer);
    [[nodiscard]] std::size_t choose(const IpEndpoint& peer) const;

    asio::io_context& context_;
    const Clock& clock_;
    std::vector<std::shared_ptr<ServerLink>> links_;
    RateTable rates_;
    Peers young_;
    Peers old_;
    std::atomic<std::size_t> waiting_ = 0;
    std::atomic<std::uint64_t> overrun_ = 0;
    std::atomic<std::uint64_t> oversize_ = 0;
    RelayCounters counters_;  // but for the two above
};

}  // namespace dstm::tep
