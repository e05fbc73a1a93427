// dstm-tep: the command line. Exit codes: 0 stopped as asked or the configuration is good, 1 could
// not start or run, 2 the command line or the configuration is wrong.
#include <iostream>

#include <CLI/CLI.hpp>

#include "common/log/log.hpp"
#include "tep/config.hpp"
#include "tep/daemon.hpp"
#include "tep/data_plane_choice.hpp"

namespace {

constexpr int exit_usage = 2;

int probe() {
    bool can_carry = false;
    for (const auto& [name, outcome] : dstm::tep::probe_data_planes()) {
        can_carry = can_carry || outcome.has_value();
        std::cout << name << ": "
                  << (outcome ? "yes, " + *outcome : "no, " + outcome.error().context) << '\n';
    }
    return can_carry ? 0 : 1;
}

int detach(const dstm::tep::Config& config) {
    const auto removed = dstm::tep::detach_data_plane(config);
    if (!removed) {
        std::cerr << "cannot detach: " << removed.error().context << '\n';
        return 1;
    }
    for (const auto& what : *removed) std::cout << "removed: " << what << '\n';
    if (removed->empty()) std::cout << "nothing was there\n";
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"dstm-tep: tunnel endpoint of the DSTM service"};
    std::string path = "/etc/dstm/dstm-tep.conf";
    bool check_only = false;
    bool probe_only = false;
    bool detach_only = false;
    app.add_option("-c,--config", path, "configuration file")->capture_default_str();
    app.add_flag("--check-config", check_only, "read the configuration, say what is wrong, stop");
    app.add_flag("--probe", probe_only, "say which data planes this host can run, and why not");
    app.add_flag("--detach", detach_only,
                 "take what a stopped daemon left carrying out of the kernel, stop");
    app.set_version_flag("--version", std::string("dstm-tep ") + DSTM_VERSION);
    app.footer(
        "Exit codes: 0 stopped as asked, or the configuration is good; 1 could not start, or "
        "there is no data plane here, or it cannot be detached; "
        "2 wrong command line or configuration.");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : exit_usage;
    }

    if (probe_only) return probe();

    auto document = dstm::config::Document::load(path);
    if (!document) {
        std::cerr << document.error().context << '\n';
        return exit_usage;
    }
    const auto config = dstm::tep::read_config(*document);
    const auto mistakes = document->finish();
    for (const auto& mistake : mistakes) std::cerr << mistake << '\n';
    if (!mistakes.empty()) return exit_usage;
    if (check_only) {
        std::cout << path << ": good\n";
        return 0;
    }
    if (detach_only) return detach(config);
    if (!dstm::log::set_level(config.log_level)) return exit_usage;
    return dstm::tep::run_daemon(config);
}
