// Asio's signal set, with a handler that may destroy it.
#include "common/io/signals.hpp"

#include "common/io/asio.hpp"

namespace dstm::io {

struct Signals::State : std::enable_shared_from_this<Signals::State> {
    explicit State(asio::io_context& context) : set(context) {}

    void wait() {
        set.async_wait([self = shared_from_this()](const ErrorCodeOfAsio& error, int number) {
            if (error || !self->handle) return;
            const auto copy = self->handle;  // the call may destroy us
            copy(number);
            if (self->handle) self->wait();
        });
    }

    asio::signal_set set;
    std::function<void(int)> handle;
};

Signals::Signals(asio::io_context& context, std::initializer_list<int> numbers,
                 std::function<void(int)> handle)
    : state_(std::make_shared<State>(context)) {
    state_->handle = std::move(handle);
    for (const int number : numbers) state_->set.add(number);
    state_->wait();
}

Signals::~Signals() {
    state_->handle = nullptr;
    ErrorCodeOfAsio ignored;
    state_->set.cancel(ignored);
}

}  // namespace dstm::io
