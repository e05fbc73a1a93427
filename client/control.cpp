// Who waits for what, and which announcement answers whom.
#include "client/control.hpp"

#include <utility>

#include <nlohmann/json.hpp>

#include "client/report.hpp"

namespace dstm::client {
namespace {

constexpr std::size_t waiters_max = 32;

std::string to_line(const nlohmann::json& document) {
    // Text that came from a server may hold anything; the line must be valid JSON all the same.
    return document.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace) + '\n';
}

std::string failure(ExitCode code, const std::string& text) {
    return to_line({{"ok", false}, {"exit", static_cast<int>(code)}, {"error", text}});
}

}  // namespace

std::string Control::success() const {
    auto status = status_of(driver_);
    status["ok"] = true;
    return to_line(status);
}

void Control::handle(std::string_view request, const void* waiter, Reply reply) {
    const auto document = nlohmann::json::parse(request, nullptr, false);
    if (!document.is_object() || !document.contains("command") ||
        !document["command"].is_string()) {
        reply(failure(ExitCode::usage, "a request is a JSON object with a \"command\""));
        return;
    }
    const auto command = document["command"].get<std::string>();
    if (command == "status") {
        reply(success());
    } else if (waiters_.size() >= waiters_max) {
        reply(failure(ExitCode::failed, "too many requests wait already"));
    } else if (command == "up") {
        if (driver_.engine().binding()) {
            reply(success());
            return;
        }
        wait(Wish::up, waiter, std::move(reply));
        driver_.handle(StartRequested{});
    } else if (command == "renew") {
        wait(Wish::renewed, waiter, std::move(reply));
        driver_.handle(RenewRequested{});
    } else if (command == "down") {
        wait(Wish::down, waiter, std::move(reply));
        driver_.handle(StopRequested{});
    } else {
        reply(failure(ExitCode::usage, "unknown command; known are status, up, renew, down"));
    }
}

void Control::wait(Wish wish, const void* owner, Reply reply) {
    waiters_.push_back({owner, wish, std::move(reply)});
}

void Control::withdraw(const void* waiter) {
    waiters_.remove_if([waiter](const Waiter& entry) { return entry.owner == waiter; });
}

template <class Predicate>
void Control::answer(Predicate is_meant, const std::string& line) {
    // Taken out first: a reply may come back with a withdrawal.
    std::list<Waiter> meant;
    for (auto entry = waiters_.begin(); entry != waiters_.end();) {
        const auto here = entry++;
        if (is_meant(here->wish)) meant.splice(meant.end(), waiters_, here);
    }
    for (const auto& entry : meant) entry.reply(line);
}

void Control::observe(const Announce& announcement) {
    using What = Announce::What;
    switch (announcement.what) {
        case What::up:
        case What::renewed:
        case What::moved:
            answer([](Wish wish) { return wish != Wish::down; }, success());
            break;
        case What::refused:
        case What::failed: {
            // `up` waits for as long as it makes sense, `renew` for one try.
            const auto code = announcement.permanent && announcement.status != 0
                                  ? ExitCode::refused
                                  : ExitCode::failed;
            answer(
                [&announcement](Wish wish) {
                    return wish == Wish::renewed || (wish == Wish::up && announcement.permanent);
                },
                failure(code, announcement.text));
            break;
        }
        case What::dormant:
        case What::aside:
            answer([](Wish wish) { return wish == Wish::up; }, success());
            answer([](Wish wish) { return wish == Wish::renewed; },
                   failure(ExitCode::failed, "there is no lease to renew: " + announcement.text));
            break;
        default: break;
    }
}

void Control::stopped(const std::string& reason, ExitCode code) {
    answer([](Wish wish) { return wish == Wish::down; }, success());
    answer([](Wish) { return true; }, failure(code, reason));
}

}  // namespace dstm::client
