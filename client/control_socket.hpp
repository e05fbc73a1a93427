// The UNIX socket of control.hpp: its serving side on the event thread, and the blocking call that
// the commands `status`, `up`, `down` and `renew` make. Only the owner of the socket may connect.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "client/control.hpp"
#include "common/base/clock.hpp"
#include "common/base/result.hpp"

namespace boost::asio {
class io_context;
}

namespace dstm::client {

class ControlSocket {
public:
    // Takes the place of a socket whose owner is dead. conflict: its owner lives.
    [[nodiscard]] static Result<ControlSocket> listen(boost::asio::io_context& context,
                                                      const std::string& path, Control& control);
    ControlSocket(ControlSocket&&) noexcept;
    ControlSocket& operator=(ControlSocket&&) = delete;
    ~ControlSocket();  // removes the socket; replies that were made are still sent

private:
    struct State;
    explicit ControlSocket(std::shared_ptr<State> state);
    std::shared_ptr<State> state_;
};

// One request, one reply line. not_found: nobody listens. timed_out; no timeout waits for ever.
[[nodiscard]] Result<std::string> ask_running_client(const std::string& path,
                                                     const std::string& request,
                                                     std::optional<Duration> timeout);

}  // namespace dstm::client
