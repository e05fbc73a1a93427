// Signals as ordinary calls on the event thread.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>

#include "common/io/fwd.hpp"

namespace dstm::io {

class Signals {
public:
    // `handle` runs on the event thread for each signal that arrives, until this is destroyed.
    Signals(asio::io_context& context, std::initializer_list<int> numbers,
            std::function<void(int)> handle);
    ~Signals();
    Signals(const Signals&) = delete;
    Signals& operator=(const Signals&) = delete;

private:
    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace dstm::io
