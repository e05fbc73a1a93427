// The socket under the dialogue with the hook: connect, read, write, timers, back-off.
#include "dstm-server/lease/kea_stream.hpp"

#include <array>

#include "common/io/asio.hpp"
#include "common/log/log.hpp"
#include "dstm-server/lease/dialogue.hpp"

namespace dstm::server {

using lease::Dialogue;

// Lives on in the handlers that are under way; stop() makes them do nothing.
class KeaStream::Link : public std::enable_shared_from_this<KeaStream::Link> {
public:
    Link(KeaStreamConfig config, asio::io_context& events, const Clock& clock)
        : config_(std::move(config)),
          events_(events),
          clock_(clock),
          dialogue_({.call_timeout = config_.call_timeout, .family = config_.family}),
          socket_(events),
          retry_timer_(events),
          deadline_timer_(events),
          retry_delay_(config_.retry_min) {}

    void stop() {
        stopped_ = true;
        listener_ = nullptr;
        ++connection_;
        ErrorCodeOfAsio ignored;
        socket_.close(ignored);
        retry_timer_.cancel(ignored);
        deadline_timer_.cancel(ignored);
    }

    void connect() {
        socket_ = asio::local::stream_protocol::socket(events_);
        const auto connection = ++connection_;
        const asio::local::stream_protocol::endpoint endpoint(config_.socket_path);
        socket_.async_connect(endpoint, [self = shared_from_this(), connection](auto error) {
            if (self->is_over(connection)) return;
            if (error) return self->lost("connect: " + error.message());
            self->dialogue_.connected(self->clock_.now());
            self->read();
            self->pump();
        });
    }

    // Runs a call on the dialogue and carries out what comes of it.
    template <class Call>
    void with_dialogue(Call call) {
        call(dialogue_, clock_.now());
        pump();
    }

    void set_listener(LeaseListener* listener) { listener_ = listener; }
    [[nodiscard]] bool is_ready() const { return dialogue_.is_ready(); }

private:
    [[nodiscard]] bool is_over(std::uint64_t connection) const {
        return stopped_ || connection != connection_;
    }

    void read() {
        socket_.async_read_some(
            asio::buffer(input_),
            [self = shared_from_this(), connection = connection_](auto error, std::size_t size) {
                if (self->is_over(connection)) return;
                if (error) return self->lost(error == asio::error::eof ? "closed by the hook"
                                                                       : error.message());
                self->received({self->input_.data(), size});
            });
    }

    void received(std::string_view bytes) {
        const auto connection = connection_;
        const bool was_ready = dialogue_.is_ready();
        const auto outcome = dialogue_.received(bytes, clock_.now());
        if (!was_ready && dialogue_.is_ready()) {
            retry_delay_ = config_.retry_min;
            reported_lost_ = false;
            log_info("KEA_CONNECTED", "socket={}", config_.socket_path);
        }
        if (!outcome) return lost(outcome.error().context);
        pump();
        if (!is_over(connection)) read();
    }

    void write() {
        if (writing_.empty()) writing_ = std::move(waiting_), waiting_.clear();
        if (writing_.empty()) return;
        asio::async_write(
            socket_, asio::buffer(writing_),
            [self = shared_from_this(), connection = connection_](auto error, std::size_t) {
                if (self->is_over(connection)) return;
                if (error) return self->lost(error.message());
                self->writing_.clear();
                self->write();
            });
    }

    // After every event: what the dialogue wants written, told, completed and timed.
    void pump() {
        waiting_ += dialogue_.take_output();
        if (writing_.empty()) write();
        for (auto& outcome : dialogue_.take_outcomes()) {
            asio::post(events_, [self = shared_from_this(), outcome = std::move(outcome)] {
                if (!self->stopped_) self->carry_out(outcome);
            });
        }
        arm_deadline();
    }

    void carry_out(const Dialogue::Outcome& outcome) {
        if (const auto* completion = std::get_if<Dialogue::Completion>(&outcome)) {
            (*completion)();
        } else if (listener_ == nullptr) {
            return;
        } else if (const auto* gone = std::get_if<Dialogue::LeaseGone>(&outcome)) {
            listener_->on_lease_ended(gone->lease, gone->why);
        } else if (std::holds_alternative<Dialogue::Ready>(outcome)) {
            listener_->on_lease_store_ready();
        } else {
            listener_->on_lease_store_lost();
        }
    }

    void arm_deadline() {
        // A timer that fires too early costs less than one that is moved with every answer.
        const auto deadline = dialogue_.deadline();
        if (!deadline || (armed_for_ && *armed_for_ <= *deadline)) return;
        armed_for_ = deadline;
        deadline_timer_.expires_after(*deadline - clock_.now());
        deadline_timer_.async_wait([self = shared_from_this()](auto error) {
            if (error || self->stopped_) return;
            self->armed_for_.reset();
            self->dialogue_.time_passed(self->clock_.now());
            if (const auto fault = self->dialogue_.fault(self->clock_.now())) {
                return self->lost(*fault);
            }
            self->pump();
        });
    }

    void lost(const std::string& why) {
        ++connection_;
        ErrorCodeOfAsio ignored;
        socket_.close(ignored);
        writing_.clear();
        waiting_.clear();
        dialogue_.disconnected(why);
        if (!std::exchange(reported_lost_, true)) {
            log_error("KEA_LOST", "socket={} why={} (requests are answered 530 until it is back)",
                      config_.socket_path, log::quoted(why));
        }
        pump();
        retry_timer_.expires_after(retry_delay_);
        retry_delay_ = std::min(retry_delay_ * 2, config_.retry_max);
        retry_timer_.async_wait([self = shared_from_this()](auto error) {
            if (!error && !self->stopped_) self->connect();
        });
    }

    const KeaStreamConfig config_;
    asio::io_context& events_;
    const Clock& clock_;
    Dialogue dialogue_;
    LeaseListener* listener_ = nullptr;

    asio::local::stream_protocol::socket socket_;
    asio::steady_timer retry_timer_;
    asio::steady_timer deadline_timer_;
    std::optional<Instant> armed_for_;
    Duration retry_delay_;
    std::uint64_t connection_ = 0;  // grows with each one, so that handlers of an old one are known
    bool stopped_ = false;
    bool reported_lost_ = false;
    std::array<char, 65536> input_{};
    std::string writing_;
    std::string waiting_;
};

KeaStream::KeaStream(KeaStreamConfig config, asio::io_context& events, const Clock& clock)
    : link_(std::make_shared<Link>(std::move(config), events, clock)) {}

KeaStream::~KeaStream() { link_->stop(); }

void KeaStream::start() { link_->connect(); }
bool KeaStream::is_ready() const { return link_->is_ready(); }
void KeaStream::set_listener(LeaseListener* listener) { link_->set_listener(listener); }

void KeaStream::allocate(const LeaseRequest& request, Done<Lease> done) {
    link_->with_dialogue([&](Dialogue& dialogue, Instant now) {
        dialogue.allocate(request, std::move(done), now);
    });
}

void KeaStream::renew(const IpAddress& address, const LeaseRequest& request, Done<Lease> done) {
    link_->with_dialogue([&](Dialogue& dialogue, Instant now) {
        dialogue.renew(address, request, std::move(done), now);
    });
}

void KeaStream::release(const IpAddress& address, const ClientId& client_id, Generation up_to,
                        Done<void> done) {
    link_->with_dialogue([&](Dialogue& dialogue, Instant now) {
        dialogue.release(address, client_id, up_to, std::move(done), now);
    });
}

void KeaStream::list(Done<std::vector<Lease>> done) {
    link_->with_dialogue([&](Dialogue& dialogue, Instant now) {
        dialogue.list(std::move(done), now);
    });
}

}  // namespace dstm::server
