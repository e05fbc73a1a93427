// The bounded drain behind LingeringCloser.
#include "dstm-server/net/lingering_closer.hpp"

#include <array>
#include <set>

namespace dstm::server::net {
namespace {

constexpr std::chrono::seconds linger_time_max(1);
constexpr std::size_t linger_size_max = 64 * 1024;

}  // namespace

struct LingeringCloser::Shared {
    asio::io_context& events;
    std::size_t sockets_max;
    std::set<std::shared_ptr<One>> all;
};

struct LingeringCloser::One : std::enable_shared_from_this<LingeringCloser::One> {
    One(Socket socket_in, std::weak_ptr<Shared> shared_in, asio::io_context& events)
        : socket(std::move(socket_in)), timer(events), shared(std::move(shared_in)) {}

    void start() {
        ErrorCodeOfAsio error;
        socket.shutdown(Socket::shutdown_send, error);
        if (error) return end();
        timer.expires_after(linger_time_max);
        timer.async_wait([self = shared_from_this()](auto failed) {
            if (!failed) self->end();
        });
        drain();
    }

    void drain() {
        socket.async_read_some(
            asio::buffer(waste), [self = shared_from_this()](auto error, std::size_t size) {
                self->drained += size;
                if (error || self->drained > linger_size_max) return self->end();
                self->drain();
            });
    }

    void end() {
        ErrorCodeOfAsio ignored;
        socket.close(ignored);
        timer.cancel(ignored);
        if (const auto owner = shared.lock()) owner->all.erase(shared_from_this());
    }

    Socket socket;
    asio::steady_timer timer;
    std::weak_ptr<Shared> shared;
    std::array<char, 4096> waste{};
    std::size_t drained = 0;
};

LingeringCloser::LingeringCloser(asio::io_context& events, std::size_t sockets_max)
    : shared_(std::make_shared<Shared>(Shared{events, sockets_max, {}})) {}

LingeringCloser::~LingeringCloser() {
    for (const auto& one : std::set(shared_->all)) one->end();
}

void LingeringCloser::close(Socket socket) {
    if (shared_->all.size() >= shared_->sockets_max) {
        ErrorCodeOfAsio ignored;
        socket.close(ignored);
        return;
    }
    auto one = std::make_shared<One>(std::move(socket), shared_, shared_->events);
    shared_->all.insert(one);
    one->start();
}

std::size_t LingeringCloser::count() const { return shared_->all.size(); }

}  // namespace dstm::server::net
