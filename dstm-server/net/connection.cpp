// The driver of one connection. Every handler holds the connection, and does nothing when it is
// over.
#include "dstm-server/net/connection.hpp"

#include <algorithm>

#include "common/base/assert.hpp"
#include "common/log/log.hpp"

namespace dstm::server::net {
namespace {

// Longer than a reader that is there needs to come back for the next segment.
constexpr std::chrono::milliseconds pause_between_segments(150);

constexpr int kernel_buffer_size = 32 * 1024;
constexpr std::chrono::seconds end_time_max(1);  // for a peer's last word in TLS

}  // namespace

Connection::Connection(std::unique_ptr<io::ByteStream> stream, IpEndpoint peer,
                       const tsp::ServerSessionConfig& config, OutputLimits limits,
                       const Surroundings& around, Gone gone)
    : stream_(std::move(stream)),
      peer_(std::move(peer)),
      config_(config),
      limits_(limits),
      around_(around),
      gone_(std::move(gone)),
      timer_(around_.edges.events),
      pause_(around_.edges.events) {}

void Connection::start() {
    ErrorCodeOfAsio ignored;
    auto& socket = stream_->socket();
    socket.set_option(asio::ip::tcp::no_delay(true), ignored);
    socket.set_option(asio::socket_base::keep_alive(true), ignored);
    // Else the kernel would hold megabytes for a peer that does not read.
    socket.set_option(asio::socket_base::send_buffer_size(kernel_buffer_size), ignored);
    stream_deadline_ = around_.edges.clock.now() + config_.limits.phase_timeout;
    arm_timer();
    stream_->begin([self = shared_from_this()](const ErrorCodeOfAsio& error) {
        if (self->over_) return;
        if (error) return self->abort(error.message());
        self->stream_deadline_.reset();
        self->begin_session();
    });
}

void Connection::begin_session() {
    const SessionPeer speaker{peer_, Transport::tcp, stream_->is_encrypted()};
    const auto certified_name = stream_->certified_name();
    config_.mechanisms =
        around_.edges.authenticator.mechanisms({peer_, speaker.tls, certified_name});
    session_.emplace(config_, around_.edges.clock.now());
    owner_ = std::make_unique<SessionOwner>(
        speaker, certified_name, around_.edges,
        [weak = weak_from_this()](const SessionOwner::Event& event) {
            const auto self = weak.lock();
            if (!self || self->over_ || self->closing_) return;
            std::visit([&](const auto& one) { self->feed(one); }, event);
        });
    log_debug("TSP_CONNECTED", "peer={} tls={}", to_string(peer_), speaker.tls);
    arm_timer();
    read();
}

// --- events of the session -----------------------------------------------------------------------

template <class Event>
void Connection::feed(const Event& event) {
    auto actions = session_->handle(event, around_.edges.clock.now());
    for (auto& action : actions) {
        if (over_ || closing_) return;
        std::visit([this](auto& one) { carry_out(one); }, action);
    }
    if (over_ || closing_) return;
    arm_timer();
}

// --- actions of the session ----------------------------------------------------------------------

void Connection::carry_out(tsp::Send& action) {
    output_size_ += action.bytes.size();
    if (output_size_ > limits_.queue_size_max) return abort("it does not read our replies");
    output_.push_back(std::move(action));
    if (output_.size() == 1) write();
}

void Connection::carry_out(tsp::Close&) { close_when_flushed(); }

// --- socket and time -----------------------------------------------------------------------------

void Connection::read() {
    stream_->read_some(
        asio::buffer(input_),
        [self = shared_from_this()](const ErrorCodeOfAsio& error, std::size_t size) {
            if (self->over_ || self->closing_) return;
            if (error == asio::error::eof) {
                // It has said all it wants to say, but may still listen.
                return self->feed(tsp::PeerClosed{});
            }
            if (error) return self->abort(error.message());
            self->feed(tsp::BytesReceived{{self->input_.data(), size}});
            if (!self->over_ && !self->closing_) self->read();
        });
}

void Connection::write() {
    if (!output_.front().is_apart) return write_now();
    pause_.expires_after(pause_between_segments);
    pause_.async_wait([weak = weak_from_this()](auto error) {
        const auto self = weak.lock();
        if (!error && self && !self->over_) self->write_now();
    });
}

void Connection::write_now() {
    stream_deadline_ = around_.edges.clock.now() + limits_.write_timeout;
    stream_->write(asio::buffer(output_.front().bytes),
                   [self = shared_from_this()](const ErrorCodeOfAsio& error, std::size_t) {
                       if (self->over_) return;
                       if (error) return self->abort(error.message());
                       self->stream_deadline_.reset();
                       self->output_size_ -= self->output_.front().bytes.size();
                       self->output_.pop_front();
                       if (!self->output_.empty()) self->write();
                       else if (self->closing_) self->close_when_flushed();
                       if (!self->over_) self->arm_timer();
                   });
}

void Connection::arm_timer() {
    std::optional<Instant> wanted = closing_ || !session_ ? std::nullopt : session_->deadline();
    if (stream_deadline_) wanted = std::min(wanted.value_or(*stream_deadline_), *stream_deadline_);
    // A timer that fires too early costs less than one that is moved with every event.
    if (!wanted || (timer_at_ && *timer_at_ <= *wanted)) return;
    timer_at_ = wanted;
    timer_.expires_after(*wanted - around_.edges.clock.now());
    timer_.async_wait([weak = weak_from_this()](auto error) {
        const auto self = weak.lock();
        if (error || !self || self->over_) return;
        self->timer_at_.reset();
        self->timer_fired();
    });
}

void Connection::timer_fired() {
    const Instant now = around_.edges.clock.now();
    if (stream_deadline_ && *stream_deadline_ <= now) {
        return abort(session_ ? "it does not read our replies" : "no TLS handshake in time");
    }
    const auto deadline = session_ ? session_->deadline() : std::nullopt;
    if (!closing_ && deadline && *deadline <= now) feed(tsp::TimePassed{});
    if (!over_) arm_timer();
}

// --- the end -------------------------------------------------------------------------------------

// What was not accepted goes back now, not when the peer has taken our last words.
void Connection::end_dialogue() {
    if (owner_) owner_->end();
}

void Connection::close_when_flushed() {
    if (over_ || ending_) return;
    closing_ = true;
    end_dialogue();
    if (!output_.empty()) return arm_timer();
    ending_ = true;
    stream_deadline_ = around_.edges.clock.now() + end_time_max;
    arm_timer();
    // What the peer says to our end, if anything, changes nothing.
    stream_->end([self = shared_from_this()](const ErrorCodeOfAsio&) {
        if (!self->over_) self->hand_over();
    });
}

void Connection::hand_over() {
    over_ = true;
    ErrorCodeOfAsio ignored;
    timer_.cancel(ignored);
    pause_.cancel(ignored);
    stream_->socket().cancel(ignored);
    around_.closer.close(std::move(stream_->socket()));
    std::exchange(gone_, nullptr)();
}

void Connection::abort(const std::string& why) {
    if (over_) return;
    log_debug("TSP_CONNECTION_LOST", "peer={} why={}", to_string(peer_), why);
    abandon();
    std::exchange(gone_, nullptr)();
}

void Connection::abandon() {
    if (std::exchange(over_, true)) return;
    end_dialogue();
    ErrorCodeOfAsio ignored;
    timer_.cancel(ignored);
    pause_.cancel(ignored);
    stream_->socket().close(ignored);
}

}  // namespace dstm::server::net
