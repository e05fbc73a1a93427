// Reading, sending, relays and the ticks of the exchanges.
#include "dstm-server/net/udp_listener.hpp"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "common/base/assert.hpp"
#include "common/io/asio.hpp"
#include "common/io/timer.hpp"
#include "common/log/log.hpp"
#include "dstm-server/net/random_key.hpp"
#include "dstm-server/net/session_owner.hpp"
#include "dstm-server/net/udp_socket.hpp"

namespace dstm::server::net {
namespace {

constexpr int datagrams_per_turn = 64;  // then others have theirs
constexpr Duration tick_interval = std::chrono::seconds(1);
constexpr Duration report_interval = std::chrono::seconds(10);
constexpr std::size_t buffer_size = 65536;  // of one datagram

// Channels of the machine: sockets from 0 on, relays from here on.
constexpr std::uint32_t first_relay_channel = 1 << 16;

}  // namespace

class UdpListener::Machine final : private RelayListener {
public:
    Machine(UdpListenerConfig config, asio::io_context& events, const Clock& clock,
            Authenticator& authenticator, TunnelService& tunnels, DatagramRelay& relay,
            IsWilling is_willing)
        : config_(std::move(config)),
          events_(events),
          clock_(clock),
          relay_(relay),
          is_willing_(std::move(is_willing)),
          machine_({config_.session, config_.limits, random_key()}),
          edges_{events, clock, authenticator, tunnels, machine_.throttle()},
          tick_(events) {
        relay_.set_relay_listener(this);
    }

    ~Machine() override {
        *alive_ = false;
        relay_.set_relay_listener(nullptr);
    }
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;

    Result<void> start() {
        for (const IpEndpoint& endpoint : config_.listen) {
            const bool has_v4_beside_it =
                std::any_of(config_.listen.begin(), config_.listen.end(), [&](const auto& other) {
                    return other.port == endpoint.port &&
                           std::holds_alternative<Ipv4Address>(other.address);
                });
            auto socket = std::make_unique<UdpSocket>(events_);
            if (auto opened = socket->open(endpoint, has_v4_beside_it); !opened) return opened;
            sockets_.push_back(std::move(socket));
        }
        for (std::size_t i = 0; i < sockets_.size(); ++i) read(i);
        tick();
        return {};
    }

    void reconfigure(UdpListenerConfig config) {
        config.listen = std::move(config_.listen);
        config_ = std::move(config);
        machine_.reconfigure({config_.session, config_.limits, 0});
    }

    [[nodiscard]] std::vector<IpEndpoint> local_endpoints() const {
        std::vector<IpEndpoint> all;
        for (const auto& socket : sockets_) all.push_back(socket->local_endpoint());
        return all;
    }
    [[nodiscard]] UdpListenerStatus status() const {
        return {machine_.exchanges(), relayed_, send_failed_, machine_.counters(),
                machine_.throttle().refused()};
    }

private:
    struct Relay {
        std::uint32_t channel = 0;  // a new one with each link: what an old one owes is void
        std::string endpoint;
    };

    void read(std::size_t index) {
        sockets_[index]->when_readable([this, alive = alive_, index](ErrorCodeOfAsio error) {
            if (!*alive || error == asio::error::operation_aborted) return;
            read_turn(index);
            read(index);
        });
    }

    void read_turn(std::size_t index) {
        for (int i = 0; i < datagrams_per_turn; ++i) {
            const auto datagram = sockets_[index]->receive(buffer_);
            if (!datagram) return;
            const tsp::UdpPath path{datagram->peer, datagram->local, datagram->interface,
                                    static_cast<std::uint32_t>(index)};
            carry_out(machine_.receive(path, datagram->bytes, clock_.now()));
        }
    }

    // --- relays ----------------------------------------------------------------------------------

    void on_datagram(const std::string& endpoint, const IpEndpoint& peer,
                     std::string_view datagram) override {
        ++relayed_;
        const auto at = std::ranges::find(relays_, endpoint, &Relay::endpoint);
        const auto channel = at != relays_.end() ? at->channel : next_relay_channel_++;
        if (at == relays_.end()) relays_.push_back({channel, endpoint});
        const tsp::UdpPath path{peer, Ipv6Address(), 0, channel};
        carry_out(machine_.receive(path, datagram, clock_.now()));
    }

    void on_relay_gone(const std::string& endpoint) override {
        const auto at = std::ranges::find(relays_, endpoint, &Relay::endpoint);
        if (at == relays_.end()) return;
        const auto channel = at->channel;
        relays_.erase(at);
        carry_out(machine_.channel_gone(channel));
    }

    // The endpoint whose relay the channel is; empty: it is one of our sockets.
    [[nodiscard]] std::string relay_of(std::uint32_t channel) const {
        const auto at = std::ranges::find(relays_, channel, &Relay::channel);
        return at == relays_.end() ? std::string() : at->endpoint;
    }

    void tick() {
        machine_.set_willing(is_willing_());
        carry_out(machine_.tick(clock_.now()));
        report();
        tick_.after(tick_interval, [this] { tick(); });
    }

    // --- actions ---------------------------------------------------------------------------------

    void carry_out(tsp::udp::Actions actions) {
        for (auto& action : actions) {
            std::visit([this](auto& one) { carry_out_one(one); }, action);
        }
    }

    void carry_out_one(const tsp::udp::SendDatagram& action) {
        const tsp::UdpPath& path = action.path;
        const bool is_sent =
            path.channel >= first_relay_channel
                ? relay_.relay(relay_of(path.channel), path.peer, action.bytes)
                : sockets_[path.channel]->send(action.bytes, path.peer, path.local, path.interface);
        // What is lost here is lost as on the way: the client asks again.
        if (!is_sent) ++send_failed_;
    }

    void carry_out_one(const tsp::udp::OpenExchange& action) {
        const auto id = action.exchange;
        const SessionPeer peer{action.path.peer, Transport::udp, false,
                               relay_of(action.path.channel)};
        const auto tell = [this, id](const SessionOwner::Event& event) {
            std::visit(
                [&](const auto& one) { carry_out(machine_.handle(id, one, clock_.now())); }, event);
        };
        owners_.emplace(id, std::make_unique<SessionOwner>(peer, "", edges_, tell));
        log_debug("TSP_UDP_OPENED", "peer={} relay={}", to_string(peer.remote), peer.relay);
    }

    void carry_out_one(tsp::udp::OwnerAction& action) {
        const auto owner = owners_.find(action.exchange);
        DSTM_ASSERT(owner != owners_.end());
        if (std::holds_alternative<tsp::Close>(action.action)) {
            owners_.erase(owner);
            return;
        }
        std::visit([&](auto& one) { ask(*owner->second, one); }, action.action);
    }

    template <class One>
    static void ask(SessionOwner& owner, One& action) {
        owner.carry_out(action);
    }
    static void ask(SessionOwner&, tsp::Send&) { DSTM_ASSERT(false); }
    static void ask(SessionOwner&, tsp::Close&) { DSTM_ASSERT(false); }

    // Floods are told once in a while, not once each.
    void report() {
        const Instant now = clock_.now();
        if (reported_at_ && now - *reported_at_ < report_interval) return;
        const auto& counters = machine_.counters();
        const auto unanswered = counters.limited + counters.withheld + counters.no_room +
                                counters.throttled;
        if (unanswered == reported_) return;
        log_warning("TSP_UDP_LIMITED",
                    "replies not given to sources that proved nothing: {} over the rate of their "
                    "prefix, {} too long, {} for want of room, {} of too many tries, since the "
                    "start; exchanges={}",
                    counters.limited, counters.withheld, counters.no_room, counters.throttled,
                    machine_.exchanges());
        reported_ = unanswered;
        reported_at_ = now;
    }

    UdpListenerConfig config_;
    asio::io_context& events_;
    const Clock& clock_;
    DatagramRelay& relay_;
    IsWilling is_willing_;
    tsp::UdpServer machine_;
    const SessionEdges edges_;
    std::vector<Relay> relays_;
    std::uint32_t next_relay_channel_ = first_relay_channel;
    std::vector<std::unique_ptr<UdpSocket>> sockets_;
    std::unordered_map<tsp::udp::ExchangeId, std::unique_ptr<SessionOwner>> owners_;
    std::array<char, buffer_size> buffer_{};
    std::uint64_t relayed_ = 0;
    std::uint64_t send_failed_ = 0;
    std::uint64_t reported_ = 0;
    std::optional<Instant> reported_at_;
    io::Timer tick_;
    const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

UdpListener::UdpListener(UdpListenerConfig config, asio::io_context& events, const Clock& clock,
                         Authenticator& authenticator, TunnelService& tunnels, DatagramRelay& relay,
                         IsWilling is_willing)
    : machine_(std::make_unique<Machine>(std::move(config), events, clock, authenticator, tunnels,
                                         relay, std::move(is_willing))) {}
UdpListener::~UdpListener() = default;

Result<void> UdpListener::start() { return machine_->start(); }
void UdpListener::reconfigure(UdpListenerConfig config) {
    machine_->reconfigure(std::move(config));
}
std::vector<IpEndpoint> UdpListener::local_endpoints() const { return machine_->local_endpoints(); }
UdpListenerStatus UdpListener::status() const { return machine_->status(); }

}  // namespace dstm::server::net
