// The server put together: edges, broker, listeners, timers. Decides nothing itself.
#pragma once

#include <functional>
#include <memory>

#include "common/base/clock.hpp"
#include "common/base/result.hpp"
#include "dstm-server/config.hpp"

namespace boost::asio {
class io_context;
}

namespace dstm::server {

class Server {
public:
    // Both outlive the server.
    Server(Settings settings, boost::asio::io_context& events, const Clock& clock);
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    // Listens. Kea and the endpoints may come later.
    [[nodiscard]] Result<void> start();
    // Log level, limits and lifetimes; addresses, sockets and SASL need a restart. Opens the audit
    // log anew.
    void reload(Settings settings);
    // Ends the dialogues; what they held is given back, tunnels that were accepted stay. `done` is
    // called when nothing is owed any more, or after a few seconds.
    void stop(std::function<void()> done);

private:
    class Machine;
    std::unique_ptr<Machine> machine_;
};

}  // namespace dstm::server
