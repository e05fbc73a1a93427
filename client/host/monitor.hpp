// Tells that the host's links, addresses or routes have changed, as the kernel reports it over
// rtnetlink (by libnl-3). It does not read what has changed: whoever is told asks the kernel what
// holds now.
#pragma once

#include <functional>
#include <memory>

#include "common/base/result.hpp"

namespace boost::asio {
class io_context;
}

namespace dstm::client {

class Monitor {
public:
    // `changed` is called on the context's thread, once for any number of changes that came
    // together.
    [[nodiscard]] static Result<Monitor> start(boost::asio::io_context& context,
                                               std::function<void()> changed);
    Monitor(Monitor&&) noexcept;
    Monitor& operator=(Monitor&&) = delete;
    ~Monitor();

private:
    struct State;
    explicit Monitor(std::shared_ptr<State> state);
    std::shared_ptr<State> state_;
};

}  // namespace dstm::client
