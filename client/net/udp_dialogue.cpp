// The UDP socket around tsp::UdpClient.
#include "client/net/udp_dialogue.hpp"

#include <random>
#include <utility>

namespace dstm::client {

UdpDialogue::UdpDialogue(const Surroundings& around, const SignallingConfig& config, Target server,
                         EventHandler handler)
    : Dialogue(around, config, std::move(server), std::move(handler)),
      socket_(around.context),
      addresses_left_(config.udp_addresses_max) {}

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
    ErrorCodeOfAsio error;
    const auto local = socket_.local_endpoint(error);
    if (error) return std::nullopt;
    return Ends{local.address(), server_.address(), server_.port()};
}

// --- one address after another -------------------------------------------------------------------

void UdpDialogue::connect_next() {
    if (addresses_.empty() || addresses_left_ == 0) {
        no_connection();
        return;
    }
    --addresses_left_;
    ++attempt_;
    server_ = {addresses_.front(), port()};
    addresses_.pop_front();
    is_refused_ = false;
    ErrorCodeOfAsio error;
    socket_.close(error);
    socket_.open(server_.protocol(), error);
    if (!error) socket_.connect(server_, error);
    if (error) {
        note_trouble(server_.address(), port(), error.message());
        connect_next();
        return;
    }
    auto settings = config().udp;
    settings.session = config().session;
    settings.first_sequence = std::random_device{}();
    session_.emplace(std::move(settings), around().clock.now());
    read_more(attempt_);
    tell_session(tsp::client::Connected{});
}

// Nobody answered here: three datagrams in vain, or an ICMP error.
bool UdpDialogue::tries_next() {
    if (session_->has_been_answered()) return false;
    note_trouble(server_.address(), port(),
                 is_refused_ ? "UDP: the port is unreachable" : "UDP: no answer");
    // Posted: the session that failed is still at work.
    asio::post(around().context, [self = self()] {
        if (!self->is_closing()) self->connect_next();
    });
    return true;
}

// --- the socket ----------------------------------------------------------------------------------

void UdpDialogue::read_more(unsigned attempt) {
    socket_.async_receive(
        asio::buffer(inbox_),
        [self = self(), attempt](const ErrorCodeOfAsio& error, std::size_t count) {
            if (attempt != self->attempt_ || error == asio::error::operation_aborted) return;
            if (self->is_closing()) {
                if (error) return self->shut();
                const tsp::client::BytesReceived received{{self->inbox_.data(), count}};
                // Only what its repeats need is of interest; there is nobody to tell.
                for (const auto& action : self->feed(received, self->around().clock.now())) {
                    if (const auto* send = std::get_if<tsp::client::Send>(&action)) {
                        self->transmit(send->bytes);
                    }
                }
                if (self->is_flushed()) return self->shut();
                return self->read_more(attempt);
            }
            if (error) {
                self->is_refused_ = true;
                self->tell_session(tsp::client::PeerClosed{});
                const bool goes_on = self->session_ && !self->session_->has_been_answered();
                if (!goes_on && !self->is_closing()) {
                    self->failed(SessionFailed::Cause::lost, "the server's port is unreachable");
                }
                return;
            }
            self->tell_session(
                tsp::client::BytesReceived{std::string_view(self->inbox_.data(), count)});
            if (!self->is_closing()) self->read_more(attempt);
        });
}

// What the kernel does not take now is repeated with the rest.
void UdpDialogue::transmit(std::string bytes) {
    ErrorCodeOfAsio ignored;
    socket_.send(asio::buffer(bytes), 0, ignored);
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
        timer_.expires_after(*flush_by_ - around().clock.now());
        timer_.async_wait([self = self()](const ErrorCodeOfAsio& error) {
            if (!error) self->shut();
        });
        return;
    }
    timer_.expires_after(*due - around().clock.now());
    timer_.async_wait([self = self()](const ErrorCodeOfAsio& error) {
        if (!error) self->repeat_when_due();
    });
}

void UdpDialogue::repeat_when_due() {
    for (const auto& action : feed(tsp::client::TimePassed{}, around().clock.now())) {
        if (const auto* send = std::get_if<tsp::client::Send>(&action)) transmit(send->bytes);
    }
    if (is_flushed()) return shut();
    flush();
}

void UdpDialogue::close_socket() {
    ErrorCodeOfAsio ignored;
    socket_.close(ignored);
}

}  // namespace dstm::client
