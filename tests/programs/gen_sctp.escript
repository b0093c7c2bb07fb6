#!/usr/bin/env escript
%% -*- erlang -*-
%% gen_sctp one-to-many and peeled off, both ends: messages and events. What is not as it should be is a badmatch.
-include_lib("kernel/include/inet_sctp.hrl").

-define(TIMEOUT, 40000).

main(["server", Port]) ->
    {ok, Socket} = gen_sctp:open(list_to_integer(Port), [{active, false}, binary, {recbuf, 65536}]),
    ok = gen_sctp:listen(Socket, true),
    io:format("listening~n"),
    {ok, {Peer, PeerPort, [], Up}} = receive_next(Socket),
    #sctp_assoc_change{state = comm_up, outbound_streams = 10, inbound_streams = 5, assoc_id = Id} = Up,
    {ok, {Peer, PeerPort, [Info], <<"to the server">>}} = receive_next(Socket),
    #sctp_sndrcvinfo{stream = 3, ppid = 46, assoc_id = Id} = Info,
    ok = gen_sctp:send(Socket, Id, 1, <<"to the client">>),
    {ok, Peeled} = gen_sctp:peeloff(Socket, Id),
    {ok, {_, PeerPort}} = inet:peername(Peeled),
    ok = inet:setopts(Peeled, [{active, true}]),
    receive {sctp, Peeled, _, _, {[#sctp_sndrcvinfo{stream = 0}], <<"to the peeled">>}} -> ok
    after ?TIMEOUT -> exit(nothing_on_the_peeled_socket) end,
    ok = gen_sctp:send(Peeled, Id, 4, <<"from the peeled">>),
    receive {sctp, Peeled, _, _, {[], #sctp_shutdown_event{assoc_id = Id}}} -> ok
    after ?TIMEOUT -> exit(no_shutdown_event) end,
    ok = gen_sctp:close(Peeled),
    %% A second one, that the server ends.
    {ok, {_, _, [], #sctp_assoc_change{state = comm_up, assoc_id = Second}}} = receive_next(Socket),
    {ok, {_, _, [_], Large}} = receive_next(Socket),
    20000 = byte_size(Large),
    ok = gen_sctp:send(Socket, Second, 0, Large),
    {ok, {_, _, [_], <<"got it">>}} = receive_next(Socket),
    ok = gen_sctp:abort(Socket, #sctp_assoc_change{assoc_id = Second}),
    ok = gen_sctp:close(Socket),
    io:format("server done~n");
main(["client", Host, PortText]) ->
    {ok, Address} = inet:parse_address(Host),
    Port = list_to_integer(PortText),
    {ok, Socket} = gen_sctp:open([{active, false}, binary, {recbuf, 65536}]),
    Init = [{sctp_initmsg, #sctp_initmsg{num_ostreams = 5}}],
    {ok, #sctp_assoc_change{state = comm_up, outbound_streams = 5, assoc_id = Id}} =
        gen_sctp:connect(Socket, Address, Port, Init),
    {ok, [{sctp_status, #sctp_status{state = established, assoc_id = Id}}]} =
        inet:getopts(Socket, [{sctp_status, #sctp_status{assoc_id = Id}}]),
    ok = gen_sctp:send(Socket, #sctp_sndrcvinfo{assoc_id = Id, stream = 3, ppid = 46}, <<"to the server">>),
    {ok, {Address, Port, [#sctp_sndrcvinfo{stream = 1, assoc_id = Id}], <<"to the client">>}} =
        receive_next(Socket),
    ok = gen_sctp:send(Socket, Id, 0, <<"to the peeled">>),
    {ok, {_, _, [#sctp_sndrcvinfo{stream = 4}], <<"from the peeled">>}} = receive_next(Socket),
    ok = gen_sctp:eof(Socket, #sctp_assoc_change{assoc_id = Id}),
    {ok, {Address, Port, [], #sctp_assoc_change{state = shutdown_comp, assoc_id = Id}}} =
        receive_next(Socket),
    {ok, #sctp_assoc_change{state = comm_up, assoc_id = Second}} = gen_sctp:connect(Socket, Address, Port, []),
    ok = gen_sctp:send(Socket, Second, 2, binary:copy(<<"0123456789">>, 2000)),
    {ok, {_, _, [_], Large}} = receive_next(Socket),
    20000 = byte_size(Large),
    ok = gen_sctp:send(Socket, Second, 0, <<"got it">>),
    {ok, {_, _, [], #sctp_assoc_change{state = comm_lost, assoc_id = Second}}} = receive_next(Socket),
    ok = gen_sctp:close(Socket),
    io:format("client done~n").

%% The next message or event, but for those about the peer's addresses, which come as they are confirmed, and about
%% messages that an ABORT came before the acknowledgement of.
receive_next(Socket) ->
    case gen_sctp:recv(Socket, ?TIMEOUT) of
        {ok, {_, _, [], #sctp_paddr_change{}}} -> receive_next(Socket);
        {error, {_, [], #sctp_send_failed{}}} -> receive_next(Socket);
        Other -> Other
    end.
