// Reverse delegation by nsupdate, the tool of BIND 9 (package bind9-dnsutils): RFC 2136 updates,
// signed with TSIG (RFC 8945). The key is named on its command line by file, everything else goes
// through its standard input.
//
// Updates of one prefix are made one after the other in the order of the calls.
#include <algorithm>
#include <deque>
#include <list>

#include <sys/stat.h>
#include <unistd.h>

#include "common/io/asio.hpp"
#include "common/log/log.hpp"
#include "dstm-server/dns/delegation_plan.hpp"
#include "dstm-server/dns/tool_run.hpp"

namespace dstm::server {

namespace {

struct Update {
    Ipv6Prefix prefix;
    std::string script;
    Done<void> done;
    std::unique_ptr<ToolRun> run = {};
};

// What it says tells only one failure from another: its exit code is the same for an answer that
// refuses and for none.
Error error_of(const ToolResult& result) {
    const bool answered = result.output.find("update failed: ") != std::string::npos;
    const bool for_now = result.output.find("SERVFAIL") != std::string::npos;
    return {answered && !for_now ? ErrorCode::refused : ErrorCode::unavailable,
            "nsupdate: " + log::quoted(result.output)};
}

class NsupdateDelegation : public ReverseDelegation {
public:
    NsupdateDelegation(asio::io_context& context, ReverseDelegationConfig config)
        : context_(context), config_(std::move(config)) {}

    void delegate(const Ipv6Prefix& prefix, std::vector<std::string> name_servers,
                  Done<void> done) override {
        add(prefix, delegation_script(config_, prefix, name_servers), std::move(done));
    }

    void withdraw(const Ipv6Prefix& prefix, Done<void> done) override {
        add(prefix, withdrawal_script(config_, prefix), std::move(done));
    }

private:
    void add(const Ipv6Prefix& prefix, Result<std::string> script, Done<void> done) {
        if (!script) return answer_later(prefix, std::move(done), script.error());
        if (waiting_.size() >= config_.waiting_max) {
            return answer_later(prefix, std::move(done),
                                {ErrorCode::exhausted, "too many DNS updates wait"});
        }
        waiting_.push_back({prefix, *std::move(script), std::move(done)});
        start_what_can();
    }

    void answer_later(const Ipv6Prefix& prefix, Done<void> done, const Error& error) {
        log_warning("DNS_DELEGATION_FAILED", "prefix={} {}", prefix.to_string(), to_string(error));
        asio::post(context_,
                   [done = std::move(done), error] { done(tl::unexpected<Error>(error)); });
    }

    void start_what_can() {
        for (auto next = waiting_.begin();
             next != waiting_.end() && running_.size() < config_.concurrent_max;) {
            const bool busy =
                std::any_of(running_.begin(), running_.end(),
                            [&](const auto& update) { return update.prefix == next->prefix; });
            if (busy) {
                ++next;
                continue;
            }
            running_.push_back(std::move(*next));
            next = waiting_.erase(next);
            start(std::prev(running_.end()));
        }
    }

    void start(std::list<Update>::iterator update) {
        auto run = ToolRun::start(
            context_, {config_.tool, "-v", "-k", config_.key_file}, std::move(update->script),
            config_.timeout,
            [this, update](Result<ToolResult> result) { finish(update, std::move(result)); });
        if (run) {
            update->run = *std::move(run);
            return;
        }
        answer_later(update->prefix, std::move(update->done),
                     {ErrorCode::unavailable, run.error().context});
        running_.erase(update);
    }

    void finish(std::list<Update>::iterator update, Result<ToolResult> result) {
        const Update finished = std::move(*update);
        running_.erase(update);
        Result<void> outcome;
        if (!result) outcome = tl::unexpected<Error>(result.error());
        if (result && result->exit_code != 0) outcome = tl::unexpected<Error>(error_of(*result));
        if (!outcome) {
            log_warning("DNS_DELEGATION_FAILED", "prefix={} {}", finished.prefix.to_string(),
                        to_string(outcome.error()));
        }
        start_what_can();
        finished.done(outcome);
    }

    asio::io_context& context_;
    ReverseDelegationConfig config_;
    std::deque<Update> waiting_;
    std::list<Update> running_;
};

// A key that others can read signs nothing.
Result<void> check_key_file(const std::string& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) {
        return tl::unexpected<Error>(
            Error{ErrorCode::invalid, error_from_errno(errno, "key file " + path).context});
    }
    if (!S_ISREG(status.st_mode)) return fail(ErrorCode::invalid, "no file: " + path);
    if ((status.st_mode & (S_IRWXO | S_IWGRP)) != 0) {
        return fail(ErrorCode::invalid, "key file " + path +
                                            " can be read by others, or written "
                                            "by its group: chmod o=,g-w");
    }
    return {};
}

}  // namespace

Result<std::unique_ptr<ReverseDelegation>> make_reverse_delegation(asio::io_context& context,
                                                                   ReverseDelegationConfig config) {
    if (const auto checked = check_key_file(config.key_file); !checked) {
        return tl::unexpected<Error>(checked.error());
    }
    if (!config.tool.starts_with('/') || ::access(config.tool.c_str(), X_OK) != 0) {
        return fail(ErrorCode::invalid, "cannot be executed: " + config.tool);
    }
    if (config.zones.empty()) return fail(ErrorCode::invalid, "no zone is given");
    for (const auto& zone : config.zones) {
        if (!is_reverse_zone(zone)) return fail(ErrorCode::invalid, "no zone of ip6.arpa: " + zone);
    }
    if (config.server.port == 0) return fail(ErrorCode::invalid, "the server has no port");
    return std::make_unique<NsupdateDelegation>(context, std::move(config));
}

}  // namespace dstm::server
