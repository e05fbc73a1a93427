// What people may ask of a running client, over a UNIX socket: one JSON object on one line each
// way, one request a connection. The commands as a machine without sockets; control_socket.hpp
// carries them.
//
//   {"command": "status"}  at once:  {"ok": true, "state": ..., ...}  (report.hpp)
//   {"command": "up"}      when the tunnel is up, or cannot come up
//   {"command": "renew"}   when it is renewed, or that has failed
//   {"command": "down"}    when everything is given back; the client then ends
//   a failure:             {"ok": false, "exit": 4, "error": "..."}   (exit_code.hpp)
#pragma once

#include <functional>
#include <list>
#include <string>
#include <string_view>

#include "client/driver.hpp"
#include "client/exit_code.hpp"

namespace dstm::client {

class Control {
public:
    using Reply = std::function<void(std::string line)>;

    explicit Control(Driver& driver) : driver_(driver) {}

    // `reply` is called once, now or later, unless its owner withdraws it by `waiter`.
    void handle(std::string_view request, const void* waiter, Reply reply);
    void withdraw(const void* waiter);
    // To be told of every announcement, and after the engine has stopped.
    void observe(const Announce& announcement);
    void stopped(const std::string& reason, ExitCode code);

private:
    enum class Wish { up, renewed, down };
    struct Waiter {
        const void* owner;
        Wish wish;
        Reply reply;
    };
    void wait(Wish wish, const void* owner, Reply reply);
    template <class Predicate>
    void answer(Predicate is_meant, const std::string& line);
    [[nodiscard]] std::string success() const;

    Driver& driver_;
    std::list<Waiter> waiters_;
};

}  // namespace dstm::client
