// `dstmctl pki`: words to the functions of pki.hpp.
#include <iostream>

#include "dstm-server/admin/pki.hpp"

namespace dstm::server {
namespace {

constexpr const char* usage =
    "usage: dstmctl pki init [--directory DIR]\n"
    "       dstmctl pki issue NAME [HOST...] [--directory DIR]\n"
    "NAME is the name of a server or an endpoint as its configuration has it; HOSTs are the names\n"
    "and addresses under which endpoints dial a server. DIR is /etc/dstm/pki unless given.\n";

int report(const Result<void>& result, const std::string& done) {
    if (!result) {
        std::cerr << "dstmctl pki: " << to_string(result.error()) << '\n';
        return 1;
    }
    std::cout << done << '\n';
    return 0;
}

int fail_usage() {
    std::cerr << usage;
    return 2;
}

}  // namespace

int run_pki(const std::vector<std::string>& arguments) {
    std::string directory = "/etc/dstm/pki";
    std::vector<std::string> words;
    for (auto at = arguments.begin(); at != arguments.end(); ++at) {
        if (*at == "--help" || *at == "-h") {
            std::cout << usage;
            return 0;
        }
        if (*at == "--directory") {
            if (++at == arguments.end()) return fail_usage();
            directory = *at;
        } else if (at->starts_with("-")) {
            return fail_usage();
        } else {
            words.push_back(*at);
        }
    }
    if (words.size() == 1 && words[0] == "init") {
        return report(
            pki_init(directory, "DSTM private CA"),
            "made " + directory + "/ca.crt and ca.key; keep ca.key here and nowhere else");
    }
    if (words.size() >= 2 && words[0] == "issue") {
        const std::vector<std::string> hosts(words.begin() + 2, words.end());
        return report(pki_issue(directory, words[1], hosts),
                      "made " + directory + "/" + words[1] + ".crt and .key");
    }
    return fail_usage();
}

}  // namespace dstm::server
