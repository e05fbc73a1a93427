// The UDP port around tsp::UdpClient.
#include "client/net/udp_dialogue.hpp"

#include <random>
#include <utility>

namespace dstm::client {

UdpDialogue::UdpDialogue(const Surroundings& around, const SignallingConfig& config,
                         std::shared_ptr<ServerAddresses> addresses, EventHandler handler,
                         std::shared_ptr<UdpPort> tunnel_port)
    : Dialogue(around, config, std::move(addresses), std::move(handler)),
      tunnel_port_(std::move(tunnel_port)) {}

std::shared_ptr<UdpDialogue> UdpDialogue::self() {
    return std::static_pointer_cast<UdpDialogue>(shared_from_this());
}

tsp::client::Actions UdpDialogue::feed(const SessionEvent& event, Instant now) {
    if (!session_) return {};
    return std::visit([&](const auto& one) { return session_->handle(one, now); }, event);
}

std::optional<Instant> UdpDialogue::deadline() const {
    return session_ ? session_->deadline() : std::nullopt;
}

std::optional<Dialogue::Ends> UdpDialogue::ends() const {
    const auto local = port_ ? port_->local() : std::nullopt;
    if (!local) return std::nullopt;
    return Ends{local->address(), local->port(), server_.address(), server_.port()};
}

// --- one address ---------------------------------------------------------------------------------

void UdpDialogue::connect_next() {
    if (take_tunnel_port()) return begin_session();
    const auto address = addresses().take();
    if (!address) {
        if (!addresses().is_looking()) no_connection();
        return;
    }
    server_ = {*address, port()};
    if (const auto error = open_port()) {
        addresses().note_trouble(*address, error.message());
        return connect_next();
    }
    begin_session();
}

void UdpDialogue::try_addresses() {
    if (!session_) connect_next();
}

bool UdpDialogue::take_tunnel_port() {
    if (!tunnel_port_) return false;
    const auto& server = tunnel_port_->server();
    const bool is_meant = server.port() == port() && addresses().has(server.address());
    if (!is_meant || !tunnel_port_->still_serves(server)) return false;
    port_ = tunnel_port_;
    server_ = server;
    return true;
}

ErrorCodeOfAsio UdpDialogue::open_port() {
    port_ = std::make_shared<UdpPort>(around().context);
    return port_->open(server_, may_share_port(config().type));
}

void UdpDialogue::begin_session() {
    auto settings = config().udp;
    settings.session = config().session;
    settings.first_sequence = std::random_device{}();
    session_.emplace(std::move(settings), around().clock.now());
    port_->listen(this, [self = self()](const ErrorCodeOfAsio& error, std::string_view datagram) {
        self->is_closing() ? self->received_after_finish(error, datagram)
                           : self->received(error, datagram);
    });
    tell_session(tsp::client::Connected{});
}

// Nobody answered here: three datagrams in vain, or an ICMP error.
std::optional<std::string> UdpDialogue::silence() const {
    if (session_->has_been_answered()) return std::nullopt;
    return server_name() + " [" + server_.address().to_string() + "]:" + std::to_string(port()) +
           (is_refused_ ? ": UDP: the port is unreachable" : ": UDP: no answer");
}

// --- the socket ----------------------------------------------------------------------------------

void UdpDialogue::received(const ErrorCodeOfAsio& error, std::string_view datagram) {
    if (!error) return tell_session(tsp::client::BytesReceived{datagram});
    is_refused_ = true;
    tell_session(tsp::client::PeerClosed{});
    if (is_closing()) return;
    failed(SessionFailed::Cause::lost, "the server's port is unreachable", true);
}

// Only what the repeats need is of interest; there is nobody to tell.
void UdpDialogue::received_after_finish(const ErrorCodeOfAsio& error, std::string_view datagram) {
    if (error) return shut();
    for (const auto& action :
         feed(tsp::client::BytesReceived{datagram}, around().clock.now())) {
        if (const auto* send = std::get_if<tsp::client::Send>(&action)) transmit(send->bytes);
    }
    if (is_flushed()) shut();
}

void UdpDialogue::transmit(std::string bytes) {
    if (port_) port_->send(bytes);
}

// --- the end -------------------------------------------------------------------------------------

bool UdpDialogue::is_flushed() const {
    return !session_ || !session_->has_unanswered() || !session_->is_ready();
}

// An accept that is still unanswered is repeated for a while: without it the server takes the
// tunnel down.
void UdpDialogue::flush() {
    if (!flush_by_) flush_by_ = around().clock.now() + config().udp_flush_timeout;
    const auto due = deadline();
    if (!due || *due >= *flush_by_) {
        timer_.after(*flush_by_ - around().clock.now(), [self = self()] { self->shut(); });
        return;
    }
    timer_.after(*due - around().clock.now(), [self = self()] { self->repeat_when_due(); });
}

void UdpDialogue::repeat_when_due() {
    for (const auto& action : feed(tsp::client::TimePassed{}, around().clock.now())) {
        if (const auto* send = std::get_if<tsp::client::Send>(&action)) transmit(send->bytes);
    }
    if (is_flushed()) return shut();
    flush();
}

// The port may be a tunnel's, which keeps it.
void UdpDialogue::close_socket() {
    if (!port_) return;
    port_->stop_listening(this);
    port_.reset();
}

}  // namespace dstm::client
