// dstm-tep: the command line. Exit codes: 0 stopped as asked or the configuration is good, 1 could
// not start or run, 2 the command line or the configuration is wrong.
#include <iostream>

#include <CLI/CLI.hpp>

#include "common/log/log.hpp"
#include "tep/config.hpp"
#include "tep/daemon.hpp"

namespace {

constexpr int exit_usage = 2;

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"dstm-tep: tunnel endpoint of the DSTM service"};
    std::string path = "/etc/dstm/dstm-tep.conf";
    bool check_only = false;
    app.add_option("-c,--config", path, "configuration file")->capture_default_str();
    app.add_flag("--check-config", check_only, "read the configuration, say what is wrong, stop");
    app.set_version_flag("--version", std::string("dstm-tep ") + DSTM_VERSION);
    app.footer(
        "Exit codes: 0 stopped as asked, or the configuration is good; 1 could not start; "
        "2 wrong command line or configuration.");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : exit_usage;
    }

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
    if (!dstm::log::set_level(config.log_level)) return exit_usage;
    return dstm::tep::run_daemon(config);
}
