// WebSocketLink over one kind of stream, once its handshakes are done. Inside common/io only.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "common/io/beast.hpp"
#include "common/io/timer.hpp"
#include "common/io/web_socket_link.hpp"

namespace dstm::io {

// What a failed operation on a link means to its owner.
[[nodiscard]] Error link_error(const ErrorCodeOfAsio& error, std::string_view doing);

template <class Next>
class LinkOver final : public WebSocketLink, public std::enable_shared_from_this<LinkOver<Next>> {
public:
    using Stream = websocket::stream<Next>;

    LinkOver(asio::io_context& context, std::unique_ptr<Stream> stream, LinkOptions options,
             std::string peer_name, std::string peer_address)
        : stream_(std::move(stream)),
          options_(std::move(options)),
          peer_name_(std::move(peer_name)),
          peer_address_(std::move(peer_address)),
          watch_(context),
          close_timer_(context) {
        stream_->text(true);
        stream_->read_message_max(options_.frame_size_max);
        stream_->write_buffer_bytes(write_buffer_size);
    }

    void start(OnFrame on_frame, OnClosed on_closed) override {
        on_frame_ = std::move(on_frame);
        on_closed_ = std::move(on_closed);
        heard();
        stream_->control_callback([this](websocket::frame_type kind, beast::string_view text) {
            heard();
            if (kind == websocket::frame_type::close) their_why_.assign(text.data(), text.size());
        });
        watch();
        read();
    }

    Result<void> send(std::string frame) override {
        if (state_ != State::open) return fail(ErrorCode::closed, "the link is closing");
        if (frame.size() > options_.queue_size_max - queued_) {
            return fail(ErrorCode::exhausted, "the other side does not read");
        }
        queued_ += frame.size();
        queue_.push_back(std::move(frame));
        if (!writing_) write();
        return {};
    }

    std::size_t queued() const override { return queued_; }

    void close(std::string why) override {
        if (state_ != State::open) return;
        state_ = State::draining;
        why_ = std::move(why);
        on_frame_ = nullptr;
        close_timer_.after(options_.close_max, [weak = this->weak_from_this()] {
            if (auto self = weak.lock()) self->finish({ErrorCode::closed, self->why_});
        });
        if (!writing_) say_goodbye();
    }

    const std::string& peer_name() const override { return peer_name_; }
    const std::string& peer_address() const override { return peer_address_; }

private:
    enum class State { open, draining, closed };
    static constexpr std::size_t write_buffer_size = 64 * 1024;
    static constexpr std::size_t idle_buffer_max = 64 * 1024;

    // Not the clock of io::Timer: a host that slept has heard nothing, and nobody was silent.
    static auto now() { return std::chrono::steady_clock::now(); }
    void heard() { last_heard_ = now(); }

    void read() {
        stream_->async_read(
            buffer_, [self = this->shared_from_this()](const ErrorCodeOfAsio& error, std::size_t) {
                self->on_read(error);
            });
    }

    void on_read(const ErrorCodeOfAsio& error) {
        if (state_ == State::closed) return;
        if (error == websocket::error::closed) {
            return finish({ErrorCode::closed, state_ == State::open ? their_why_ : why_});
        }
        if (error) return finish(link_error(error, "read"));
        heard();
        const bool is_text = stream_->got_text();
        std::string frame = beast::buffers_to_string(buffer_.data());
        buffer_.consume(buffer_.size());
        if (buffer_.capacity() > idle_buffer_max) buffer_.shrink_to_fit();
        if (!is_text) {
            close("only text frames are spoken here");
        } else if (on_frame_) {
            // A copy: the call may close the link, which forgets the function.
            const auto on_frame = on_frame_;
            on_frame(std::move(frame));
        }
        if (state_ != State::closed) read();
    }

    void write() {
        writing_ = true;
        stream_->async_write(
            asio::buffer(queue_.front()),
            [self = this->shared_from_this()](const ErrorCodeOfAsio& error, std::size_t) {
                self->on_written(error);
            });
    }

    void on_written(const ErrorCodeOfAsio& error) {
        writing_ = false;
        if (state_ == State::closed) return;
        if (error) return finish(link_error(error, "write"));
        queued_ -= queue_.front().size();
        queue_.pop_front();
        if (!queue_.empty()) return write();
        if (state_ == State::draining) say_goodbye();
    }

    void say_goodbye() {
        const auto size = std::min(why_.size(), websocket::reason_string::max_size_n);
        const websocket::close_reason reason(websocket::close_code::normal,
                                             beast::string_view(why_.data(), size));
        stream_->async_close(reason, [self = this->shared_from_this()](const ErrorCodeOfAsio&) {
            self->finish({ErrorCode::closed, self->why_});
        });
    }

    // A ping now and then makes the other side be heard; when it is not, the link is dead.
    void watch() {
        watch_.after(std::min(options_.ping_every, options_.silent_max),
                     [weak = this->weak_from_this()] {
                         const auto self = weak.lock();
                         if (!self || self->state_ == State::closed) return;
                         if (now() - self->last_heard_ >= self->options_.silent_max) {
                             return self->finish({ErrorCode::timed_out, "the link is silent"});
                         }
                         self->ping();
                         self->watch();
                     });
    }

    void ping() {
        if (pinging_ || state_ != State::open) return;
        pinging_ = true;
        stream_->async_ping({}, [self = this->shared_from_this()](const ErrorCodeOfAsio&) {
            self->pinging_ = false;  // a failure is seen by the read as well
        });
    }

    void finish(Error why) {
        if (state_ == State::closed) return;
        state_ = State::closed;
        watch_.cancel();
        close_timer_.cancel();
        ErrorCodeOfAsio ignored;
        beast::get_lowest_layer(*stream_).close(ignored);
        on_frame_ = nullptr;
        if (const auto on_closed = std::exchange(on_closed_, nullptr)) on_closed(std::move(why));
    }

    std::unique_ptr<Stream> stream_;
    LinkOptions options_;
    std::string peer_name_;
    std::string peer_address_;
    OnFrame on_frame_;
    OnClosed on_closed_;

    State state_ = State::open;
    std::string why_;        // of our own close
    std::string their_why_;  // of the other side's
    beast::flat_buffer buffer_;
    std::deque<std::string> queue_;
    std::size_t queued_ = 0;  // bytes in queue_
    bool writing_ = false;
    bool pinging_ = false;
    std::chrono::steady_clock::time_point last_heard_;
    Timer watch_;
    Timer close_timer_;
};

}  // namespace dstm::io
