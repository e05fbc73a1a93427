// The broker's side of TSP over UDP for all peers (RFC 5572 s4.4.1.2), as a machine of values:
// datagrams, the owner's outcomes and the time go in, actions come out. One exchange for each
// source address and port. It knows no socket, clock or library.
//
// A source may be forged, and must not make us an amplifier. How far a peer is believed:
//
//   stranger   VERSION came. At most one reply to a datagram, of less than 250 bytes.
//   stepped    the next sequence came as well. The numbers are the client's own, so that this can
//              be said blindly: longer replies go out as far as what came has paid for them,
//              budget_factor times, headers counted. One that is too long waits for a repeat,
//              and goes out long_reply_copies times at most.
//   proven     a SASL challenge of ours was answered rightly: no bound. (ANONYMOUS never gets
//              here; neither does PLAIN, which shows only that the sender knows a password.)
//
// Replies to peers that are not proven are limited for each source address and prefix too; when
// there is none left, or the source begins too many dialogues, a VERSION costs no more than that
// look. A peer
// without an exchange is answered to VERSION and to ECHO REQUEST only: never to what could be a
// reply, else two servers could be made to answer each other for ever.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "common/tsp/throttle.hpp"
#include "common/tsp/udp_exchange.hpp"
#include "common/tsp/udp_places.hpp"
#include "common/tsp/udp_replies.hpp"

namespace dstm::tsp {

// Where a datagram came from, and what sends one back. The machine reads the peer only.
struct UdpPath {
    IpEndpoint peer;
    IpAddress local;              // that the peer sent to
    std::uint32_t interface = 0;  // of a link-local peer
    std::uint32_t channel = 0;    // the owner's: by which socket or relay

    auto operator<=>(const UdpPath&) const = default;
};

struct UdpServerLimits {
    std::size_t datagram_size_max = 4096;  // deployed clients send no more
    std::size_t stranger_reply_max = 249;  // bytes, with our header
    std::uint64_t budget_factor = 5;
    // How often one reply longer than that goes out; deployed clients may send everything thrice.
    std::uint32_t long_reply_copies = 3;
    // As long as a repeat may come; deployed clients give up after 66 s.
    Duration repeat_time = std::chrono::seconds(70);
    UdpPlaces::Limits places;
    std::uint32_t replies_per_second = 200;  // to one prefix (udp_replies.hpp)
    std::uint32_t replies_burst = 400;
    Throttle::Limits tries;
};

struct UdpServerConfig {
    ServerSessionConfig session;
    UdpServerLimits limits;
    std::uint64_t key = 0;  // random
};

// Each datagram moves `received` and exactly one other of the first group by one; each reply, or
// its absence, exactly one of the second.
struct UdpServerCounters {
    std::uint64_t received = 0;
    std::uint64_t taken = 0;           // new messages, the first of an exchange too
    std::uint64_t repeated = 0;        // answered with what was answered before
    std::uint64_t in_work = 0;         // repeats whose reply is not ready
    std::uint64_t altered = 0;         // repeats of a sequence with other data
    std::uint64_t out_of_turn = 0;     // late or early sequences
    std::uint64_t echo = 0;            // ECHO REQUEST
    std::uint64_t not_signalling = 0;  // shorter than the header, or no 0xF in front
    std::uint64_t oversize = 0;
    std::uint64_t no_exchange = 0;     // neither VERSION nor of an exchange that we know
    std::uint64_t no_room = 0;         // VERSION while the table is full
    std::uint64_t throttled = 0;       // VERSION of a source that tries too often; not answered

    std::uint64_t replied = 0;
    std::uint64_t limited = 0;   // the address or its prefix has had its replies
    std::uint64_t withheld = 0;  // too long for a peer that has proved nothing

    std::uint64_t displaced = 0;  // exchanges that made room for others
    std::uint64_t expired = 0;    // ended by their own limits of time
};

namespace udp {

using ExchangeId = std::uint64_t;

struct SendDatagram {
    UdpPath path;
    std::string bytes;
};
// A dialogue begins. Actions for it follow until its Close.
struct OpenExchange {
    ExchangeId exchange = 0;
    UdpPath path;
};
// What a ServerSession wants of its owner: everything but Send.
struct OwnerAction {
    ExchangeId exchange = 0;
    ServerAction action;
};
using Action = std::variant<SendDatagram, OpenExchange, OwnerAction>;
using Actions = std::vector<Action>;

}  // namespace udp

class UdpServer {
public:
    explicit UdpServer(UdpServerConfig config);

    [[nodiscard]] udp::Actions receive(const UdpPath& path, std::string_view datagram, Instant now);
    // For an exchange that is over they do nothing.
    [[nodiscard]] udp::Actions handle(udp::ExchangeId id, const AuthenticationStepDone& event,
                                      Instant now);
    [[nodiscard]] udp::Actions handle(udp::ExchangeId id, const TunnelAnswered& event, Instant now);
    // To be called about once a second.
    [[nodiscard]] udp::Actions tick(Instant now);

    // Nothing can be sent by this channel any more: its exchanges end.
    [[nodiscard]] udp::Actions channel_gone(std::uint32_t channel);

    // Whether ECHO REQUEST, with which clients choose among brokers, is answered 200 or 530.
    void set_willing(bool is_willing) { is_willing_ = is_willing; }
    // For exchanges that begin from now on.
    void reconfigure(UdpServerConfig config);

    // For the tries that are left to the owner: authentications and requests.
    [[nodiscard]] Throttle& throttle() { return throttle_; }
    [[nodiscard]] const Throttle& throttle() const { return throttle_; }
    [[nodiscard]] const UdpServerCounters& counters() const { return counters_; }
    [[nodiscard]] std::size_t exchanges() const { return entries_.size(); }

private:
    struct Entry {
        UdpPath path;
        UdpExchange exchange;
        bool is_open = true;  // at the owner
        Instant heard_at;
        std::uint64_t bytes_in = 0;  // with IP and UDP headers
        std::uint64_t bytes_out = 0;
        std::uint32_t long_copies = 0;  // of the last reply
    };
    using Entries = std::unordered_map<udp::ExchangeId, Entry>;

    void receive_packet(const UdpPath& path, const UdpPacket& packet, Instant now);
    void begin(const UdpPath& path, const UdpPacket& packet, Instant now);
    void deliver(Entries::iterator entry, const UdpPacket& packet, Instant now);
    void count(UdpExchange::Verdict verdict);
    void carry_out(Entries::iterator entry, UdpExchange::Outcome outcome, Instant now);
    void reply(Entry& entry, std::string datagram, Instant now);
    void reply_to_stranger(const UdpPath& path, const UdpHeader& header, std::string_view text,
                           Instant now);
    void end(Entries::iterator entry);
    [[nodiscard]] bool is_restart(Entry& entry, const UdpPacket& packet, Instant now) const;
    [[nodiscard]] udp::Actions take_actions();

    UdpServerConfig config_;
    UdpServerCounters counters_;
    UdpReplies replies_;
    Throttle throttle_;
    UdpPlaces places_;
    bool is_willing_ = true;
    udp::ExchangeId last_id_ = 0;
    Entries entries_;
    std::map<UdpPath, udp::ExchangeId> by_path_;
    udp::Actions out_;
};

}  // namespace dstm::tsp
